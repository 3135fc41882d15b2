"""Lines of progress: long work takes a ``say``, and says nothing unless it is given one."""

from __future__ import annotations

from collections.abc import Callable

#: Takes a line for a person, without a final newline.
Say = Callable[[str], None]


def quiet(line: str) -> None:
    """Say nothing."""
