"""The journal: what a job did, line by line, for whoever delivers it to MLflow or draws it in the report."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Journal:
    """An append-only file of JSON lines, each with its time and kind.

    A line is written in one call and flushed, so a reader sees whole lines, and a killed job loses at most the line it
    was writing. Lines that repeat a ``(kind, step)`` (a resumed training does) are told apart by the reader, who keeps
    the last one.

    Args:
        path: File to append to; it and its folder are made.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _cut_torn_end(self.path)
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115

    def write(self, kind: str, **fields: Any) -> None:
        """Append one event; ``time`` is seconds since the epoch."""
        line = json.dumps({"time": round(time.time(), 3), "kind": kind, **fields}, ensure_ascii=False)
        self._file.write(line + "\n")
        self._file.flush()

    def close(self) -> None:
        """Sync to disk and close."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _cut_torn_end(path: Path) -> None:
    """Cut off a last line that a killed process did not finish, so that the next one starts on a line of its own."""
    if not path.exists():
        return
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        with open(path, "r+b") as handle:
            handle.truncate(data.rfind(b"\n") + 1)


def read_journal(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a journal in order; a torn last line is left out."""
    path = Path(path)
    if not path.exists():
        return
    with open(path, encoding="utf-8") as handle:
        for line in handle:
            if line.endswith("\n"):
                yield json.loads(line)
