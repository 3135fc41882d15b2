"""The MLflow store: which one it is, whether it is there, and writes that take turns where it is a SQLite file."""

from __future__ import annotations

import os
import re
import sqlite3
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.core.errors import InputError
from pipeline.core.locks import hold
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.tracking import env
from pipeline.tracking.relocate import relocate

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")
ATTEMPTS = 5
#: SQLite's write-ahead log needs memory shared between the processes, which these do not give across machines.
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "ceph", "afs", "9p", "fuse.sshfs"}


class TrackingError(Exception):
    """The store cannot take anything now; what is to be delivered waits in the journal."""


def store_uri(study: Study | None, root: Path) -> str:
    """``MLFLOW_TRACKING_URI``, else the study's, else a SQLite file in ``results``."""
    given = os.environ.get("MLFLOW_TRACKING_URI") or (study.tracking.uri if study else None)
    return given or f"sqlite:///{(root / 'results' / 'mlflow.db').resolve()}"


def shown(uri: str) -> str:
    """A store's address without the password it may hold."""
    return re.sub(r"//[^/@]*@", "//", uri)


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite store, or ``None``."""
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", uri)
    return Path(match[1]) if match else None


def reach(uri: str, timeout: float = 3.0) -> str | None:
    """Why a server does not answer, or ``None`` if it does (or if the store is no server)."""
    if not uri.startswith(("http://", "https://")):
        return None
    try:
        # The scheme was checked, so this opens no file.
        with urllib.request.urlopen(f"{re.sub(r'//[^/@]*@', '//', uri).rstrip('/')}/health", timeout=timeout):
            return None
    except urllib.error.HTTPError as error:
        # A server that wants a login, or hides this page, is there all the same.
        return None if error.code < 500 else f"it answers {error.code} {error.reason}"
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))


def check_reach(study: Study | None, paths: StudyPaths) -> str | None:
    """Why the study's store is out of reach, or ``None``.

    Raises:
        InputError: It is, and ``ORGANSEG_TRACKING`` is ``required``.
    """
    uri = store_uri(study, paths.root)
    reason = reach(uri)
    if reason is not None and env.mode() == "required":
        raise InputError(
            f"the MLflow server does not answer ({reason})",
            where=shown(uri),
            remedy=f"Start it, or set {env.MODE}=auto to go on and deliver later, or {env.MODE}=offline.",
        )
    return reason


class Store:
    """One MLflow store.

    Args:
        uri: Tracking URI.
        artifacts: Folder for artifacts of experiments that are created here; a server has its own place.
        say: Told once if the store was found moved.
    """

    def __init__(self, uri: str, artifacts: Path | None, say: Callable[[str], None] = lambda line: None) -> None:
        self.uri = uri
        self.say = say
        self.file = sqlite_file(uri)
        self.artifacts = artifacts.resolve() if artifacts is not None and self.file is not None else None

    @classmethod
    def of(cls, study: Study | None, paths: StudyPaths, say: Callable[[str], None] = lambda line: None) -> Store:
        """The store of a study."""
        return cls(store_uri(study, paths.root), paths.root / "results" / "mlartifacts", say)

    @cached_property
    def client(self) -> MlflowClient:
        """The client; made when it is first asked for.

        Raises:
            TrackingError: The store is away or has another schema.
        """
        env.prepare()
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        reason = reach(self.uri)
        if reason is not None:
            raise TrackingError(f"the MLflow server at {shown(self.uri)} does not answer ({reason})")
        try:
            with self._turn():
                client = MlflowClient(self.uri, registry_uri=self.uri)
                # The store is opened with the first question, not with the client.
                client.search_experiments(max_results=1)
                if self.file is not None:
                    use_write_ahead_log(self.file)
                    self._settle_in(self.file)
        except (MlflowException, OSError, sqlite3.Error) as error:
            raise TrackingError(self._why(error)) from None
        return client

    def _settle_in(self, file: Path) -> None:
        """Where the store lies beside its files, let it look for them there."""
        if self.artifacts is None or file.resolve().parent != self.artifacts.parent:
            return
        if relocate(file, self.artifacts):
            self.say(f"tracking: the store was moved here; its files are looked for in {self.artifacts}")

    def flush(self) -> None:
        """Bring what stands in SQLite's write-ahead log into its file, so that a copy of the file alone is whole.

        Where a reader (the UI) is at work, a part stays in the log, from which everybody reads it, till the next time.
        """
        if self.file is not None and self.file.is_file():
            opened = closing(sqlite3.connect(self.file, timeout=5))
            with self._turn(), opened as connection, suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def write(self, action: Callable[[], T]) -> T:
        """Run a write; on a SQLite file no two processes of ours write at once.

        Raises:
            TrackingError: The store was locked or away, also at the last of several attempts.
        """
        for attempt in range(ATTEMPTS):
            try:
                with self._turn():
                    return action()
            except Exception as error:
                # MLflow raises its own exceptions, those of requests and those of SQLAlchemy, all through its client.
                if not _is_passing(error) or self.file is None or attempt == ATTEMPTS - 1:
                    raise TrackingError(self._why(error)) from error
                time.sleep(0.2 * 2**attempt)
        raise AssertionError("unreachable")

    def read(self, action: Callable[[], T]) -> T:
        """Run a question to the store.

        Raises:
            TrackingError: It gave no answer.
        """
        try:
            return action()
        except Exception as error:
            raise TrackingError(self._why(error)) from error

    @contextmanager
    def current(self) -> Iterator[Any]:
        """The ``mlflow`` module with this store set in it, for its functions that take no client."""
        _ = self.client
        import mlflow

        # MLflow writes the address into the environment too, where a later Store would take it for the user's wish.
        names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
        before = {name: os.environ.get(name) for name in names}
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield mlflow
        finally:
            mlflow.set_tracking_uri(None)
            mlflow.set_registry_uri(None)
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value

    def _turn(self) -> Any:
        """A turn to write: a lock beside a SQLite file, nothing for a server."""
        if self.file is None:
            return nullcontext()
        return hold(self.file.with_name(f".{self.file.name}.lock"))

    def _why(self, error: BaseException) -> str:
        schema = schema_trouble(self.file) if self.file is not None else None
        if schema is not None:
            return f"{shown(self.uri)}: {schema}"
        first = str(error).strip().splitlines()[:1]
        return f"the MLflow store {shown(self.uri)} refused: {first[0] if first else type(error).__name__}"[:500]


def _is_passing(error: BaseException) -> bool:
    text = str(error)
    return "database is locked" in text or "database table is locked" in text or "disk I/O error" in text


def use_write_ahead_log(file: Path) -> None:
    """Let readers (the UI) and a writer work at once; the setting stays in the file."""
    with sqlite3.connect(file, timeout=20) as connection:
        now = connection.execute("PRAGMA journal_mode").fetchone()[0]
        if now != "wal" and file_system(file) not in NETWORK_FILE_SYSTEMS:
            connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


def file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Type of the file system that a path lies on, ``unknown`` where the system does not say."""
    best, kind = "", "unknown"
    target = str(path.resolve())
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines() if mounts.exists() else ():
        _, point, name, *_ = line.split(" ")
        inside = point == "/" or target == point or target.startswith(f"{point}/")
        if inside and len(point) >= len(best):
            best, kind = point, name
    return kind


def schema_trouble(file: Path) -> str | None:
    """What is wrong with the schema of a SQLite store, with its remedy, or ``None``."""
    if not file.is_file():
        return None
    try:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        connection.close()
    except sqlite3.Error:
        return None
    if row is None:
        return None
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    script = ScriptDirectory.from_config(_get_alembic_config(""))
    known = {revision.revision for revision in script.walk_revisions()}
    if row[0] in script.get_heads():
        return None
    import mlflow

    if row[0] in known:
        return (
            f"the store was made by an older MLflow than {mlflow.__version__}. "
            f"Copy the file as a backup, then run `mlflow db upgrade sqlite:///{file}`"
        )
    return (
        f"the store was made by a newer MLflow than {mlflow.__version__}. "
        "Install that version, or move the file away to begin a new store"
    )
