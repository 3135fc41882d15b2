"""What MLflow does not promise: the SQLite file of its embedded store, and tags that only its web pages read.

Everything else in this package uses MLflow's public client. What stands here is known from the migrations of the
releases :data:`KNOWN_RELEASES`, of which 3.17.2 was run; ``tests/tracking/test_store_sqlite.py`` fails when another
schema is installed, so that somebody looks at it again.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

KNOWN_RELEASES = "3.5 to 3.17"
#: Schema revisions whose tables hold places of files where :data:`PLACES` says, oldest first.
# fmt: off
KNOWN_SCHEMAS = frozenset([
    "bf29a5ff90ea", "1bd49d398cd23", "b7c8d9e0f1a2", "5d2d30f0abce", "c9d4e5f6a7b8", "2c33131f4dae",
    "d3e4f5a6b7c8", "d0e1f2a3b4c5", "c8d9e0f1a2b3", "1b5f0d9ad7c1", "e1f2a3b4c5d6", "76601a5f987d",
    "c3d6457b6d8a", "a5b4c3d2e1f0", "ae8bbe7743c9", "7d34483879f0", "da6fb0208061", "89d3d66ed43f",
    "b7e4c1a90f23", "a8b9c0d1e2f3", "c1d2e3f4a5b6", "c3d9e7f1a2b4", "6f8d9c3b2a1e", "1971f2d9a75b",
    "17e22815139b", "b7e2c1a4d9f3", "75868b020152", "dc11669786a5",
])
# fmt: on
#: Where the tables hold places of files.
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
#: SQLite's write-ahead log needs memory shared between the processes, which these do not give across machines.
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "ceph", "afs", "9p", "fuse.sshfs"}

#: Prefix of tags of ours that the web pages do not show, because it is MLflow's own.
HIDDEN = "mlflow.organseg"
#: Name of the view of runs that a study's page opens with.
VIEW = "organseg"
#: Opens the pages for trained models; without it they are guessed, and may be those for chat bots.
EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}


class UnknownSchemaError(Exception):
    """The file's tables are not those of a release that was tested."""


@contextmanager
def connected(file: Path, timeout: float = 20) -> Iterator[sqlite3.Connection]:
    """A connection without transactions of its own, closed at the end.

    Args:
        file: A SQLite file that exists.
        timeout: Seconds to wait for another writer.
    """
    address = f"{file.resolve().as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, timeout=timeout, isolation_level=None)) as connection:
        yield connection


def make(file: Path) -> None:
    """Make an empty store beside its place and rename it, so that it is there whole or not at all.

    Args:
        file: The store's place; the caller holds its lock.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.new")
    for part in _parts(draft):
        part.unlink(missing_ok=True)
    store = SqlAlchemyStore(f"sqlite:///{draft}", "./mlruns")
    store._dispose_engine()
    os.replace(draft, file)


def load_libraries() -> None:
    """Load what a store needs, which takes seconds: before a lock is taken, not while it is held."""
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


def is_broken(file: Path) -> bool:
    """Whether a file that should be a store is none: another kind of file, damaged, or killed while it was made."""
    try:
        with connected(file) as connection:
            connection.execute("SELECT version_num FROM alembic_version").fetchall()
            # MLflow makes an experiment for itself last.
            return connection.execute("SELECT 1 FROM experiments").fetchone() is None
    except sqlite3.DatabaseError as error:
        # A store that is locked, or on a disk that fails now, is not broken for that.
        return "no such table" in str(error) or not isinstance(error, sqlite3.OperationalError)


def set_aside(file: Path) -> Path:
    """Rename a broken store and its log; gives its new name, which tells the time."""
    kept = file.with_name(f"{file.name}.broken-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
    for part, place in zip(_parts(file), _parts(kept), strict=True):
        if part.exists():
            part.rename(place)
    return kept


def _parts(file: Path) -> list[Path]:
    return [file, *(file.with_name(f"{file.name}{ending}") for ending in ("-wal", "-shm", "-journal"))]


def use_write_ahead_log(file: Path) -> None:
    """Let readers (the UI) and a writer work at once; the setting stays in the file."""
    with connected(file) as connection:
        now = connection.execute("PRAGMA journal_mode").fetchone()[0]
        if now != "wal" and file_system(file) not in NETWORK_FILE_SYSTEMS:
            connection.execute("PRAGMA journal_mode=WAL")


def flush(file: Path) -> None:
    """Bring the write-ahead log into the file, so that a copy of the file alone is whole.

    Where a reader (the UI) is at work, a part stays in the log, from which everybody reads it, till the next time.
    """
    with suppress(sqlite3.OperationalError), connected(file, timeout=5) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def file_system(path: Path) -> str:
    """Type of the file system that a path lies on, ``unknown`` where the system does not say."""
    import psutil

    inside = [part for part in psutil.disk_partitions(all=True) if path.resolve().is_relative_to(part.mountpoint)]
    # Of two at the same point, the later one covers the other.
    return max(inside[::-1], key=lambda part: len(part.mountpoint)).fstype if inside else "unknown"


def schema_of(file: Path) -> str | None:
    """The revision of a store's tables; ``None`` where it cannot be read."""
    try:
        with connected(file, timeout=5) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error:
        return None
    return str(row[0]) if row else None


def installed_schemas() -> list[str]:
    """Revisions that the installed MLflow can make, newest first."""
    import mlflow.store
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(Path(mlflow.store.__path__[0]) / "db_migrations"))
    return [revision.revision for revision in script.walk_revisions()]


def schema_trouble(file: Path) -> str | None:
    """Why the installed MLflow cannot open a store, with the remedy, or ``None``."""
    found = schema_of(file) if file.is_file() else None
    if found is None:
        return None
    import mlflow

    installed = installed_schemas()
    if found == installed[0]:
        return None
    if found in installed:
        return (
            f"the store was made by an older MLflow than {mlflow.__version__}. "
            f"Copy the file as a backup, then run `mlflow db upgrade sqlite:///{file}`"
        )
    return (
        f"the store was made by a newer MLflow than {mlflow.__version__}. "
        "Install that version, or move the file away to begin a new store"
    )


def relocate(file: Path, artifacts: Path) -> bool:
    """Let a store look for its files in the folder beside it, if it looks elsewhere.

    MLflow notes absolute places of files, which end when a folder is moved. All places are rewritten in one
    transaction. Files are not moved, and an experiment whose files are not in the folder keeps its place.

    Args:
        file: The store.
        artifacts: Absolute folder that holds a folder of files for each experiment, named like it.

    Returns:
        Whether anything was rewritten.

    Raises:
        UnknownSchemaError: The store was moved, and its tables are not those of a release that was tested.
    """
    with connected(file) as connection:
        if not _moved(connection, artifacts):
            return False
        if (schema := schema_of(file)) not in KNOWN_SCHEMAS:
            raise UnknownSchemaError(
                f"the store was moved, and where it looks for its files can be mended for MLflow {KNOWN_RELEASES} "
                f"alone, not for its schema {schema}. Move it back, or install one of these releases"
            )
        connection.execute("BEGIN IMMEDIATE")
        try:
            for old, new in _moved(connection, artifacts):
                for table, column in PLACES:
                    # The place itself, or one below it; a LIKE would take "_" in a name for any letter.
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
                    )
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    return True


def _moved(connection: sqlite3.Connection, artifacts: Path) -> list[tuple[str, str]]:
    """(old, new) place of each experiment whose files lie in the folder, and are looked for elsewhere."""
    moved = []
    for name, old in connection.execute("SELECT name, artifact_location FROM experiments").fetchall():
        new = (artifacts / name).as_uri()
        # A place of another make was chosen by somebody, and is left to him.
        ours = str(old).startswith("file:") and str(old).endswith(f"/{artifacts.name}/{new.rpartition('/')[2]}")
        if ours and old != new and (artifacts / name).is_dir():
            moved.append((str(old), new))
    return moved


def page_of(experiment_id: str) -> str:
    """The web page of a study: that for trained models, with the columns of :func:`view_tag`."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={VIEW}&workflowType=machine_learning"


def view_tag(columns: Sequence[str], order: str) -> dict[str, str]:
    """The tag of an experiment that keeps a view of its runs, as the web pages keep shared ones.

    Args:
        columns: Columns beside the name, such as ``metrics.`test Dice/heart` ``.
        order: The column that runs are sorted by, highest first.
    """
    view = {
        "searchFilter": "",
        "orderByKey": order,
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(columns),
    }
    return {f"mlflow.sharedViewState.{VIEW}": json.dumps(view)}


def picture_name(key: str, step: int) -> str:
    """How the file names of a picture begin that ``MlflowClient.log_image`` stored: its place in the pages' slider.

    >>> picture_name("cases/s2", 50)
    'cases~s2+step+50'
    """
    return f"{key.replace('/', '~')}+step+{int(step)}"


def whole_pictures(file_names: Iterable[str]) -> set[str]:
    """Of the files that ``MlflowClient.log_image`` stored, the names (:func:`picture_name`) of whole pictures.

    The small copy is written last; where it is missing, a process was killed on the way.
    """
    return {name.split("+timestamp+")[0] for name in file_names if name.endswith("+compressed.webp")}


def remove_artifacts(artifact_uri: str, tracking_uri: str, folder: str) -> None:
    """Remove a folder of a run's artifacts, or a file; MLflow's client has no method for it."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(artifact_uri, tracking_uri=tracking_uri).delete_artifacts(folder)
