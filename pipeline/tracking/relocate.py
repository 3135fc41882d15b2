"""Keeps an embedded store usable where it lies: MLflow notes absolute places of files, which end with a move."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

#: Where MLflow's tables hold places of files. A table or column that its version does not have is passed over.
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def relocate(file: Path, artifacts: Path) -> bool:
    """Let a SQLite store look for its files in the folder beside it, if it looks elsewhere.

    All places are rewritten in one transaction. Files are not moved, and an experiment whose files are not in the
    folder keeps its place.

    Args:
        file: The store.
        artifacts: Absolute folder that holds a folder of files for each experiment, named like it.

    Returns:
        Whether anything was rewritten.
    """
    with closing(sqlite3.connect(file, timeout=20, isolation_level=None)) as connection:
        if not _moved(connection, artifacts):
            return False
        connection.execute("BEGIN IMMEDIATE")
        try:
            columns = [place for place in PLACES if _has(connection, *place)]
            for old, new in _moved(connection, artifacts):
                for table, column in columns:
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


def _has(connection: sqlite3.Connection, table: str, column: str) -> bool:
    return any(row[1] == column for row in connection.execute(f"PRAGMA table_info({table})"))
