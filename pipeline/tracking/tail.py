"""Reads a journal that grows: each call gives the whole lines that came since the last one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Tail:
    """A place in a journal.

    Args:
        path: The journal; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._place = 0

    def read(self) -> list[dict[str, Any]]:
        """Events whose lines are complete and were not given before."""
        try:
            with open(self.path, "rb") as handle:
                if self.path.stat().st_size < self._place:
                    self._place = 0
                handle.seek(self._place)
                data = handle.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._place += len(whole)
        return [json.loads(line) for line in whole.splitlines()]
