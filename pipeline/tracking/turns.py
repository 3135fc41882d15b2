"""Turns at what one process at a time may do: writing to a SQLite store, making a run, delivering a journal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.core.errors import TryAgainError
from pipeline.core.locks import hold
from pipeline.core.say import Say, quiet

#: Seconds that a turn is waited for at most.
LIMIT = 300.0


class TrackingError(Exception):
    """The store cannot take anything now; what is to be delivered waits in the journal."""


@contextmanager
def take_turn(path: Path, say: Say = quiet, limit: float = LIMIT) -> Iterator[None]:
    """Hold a lock file, waiting for another process that holds it.

    Args:
        path: The lock file; it and its folder are made and stay.
        say: Takes the line that another process is waited for, after five seconds.
        limit: Seconds to wait at most.

    Raises:
        TrackingError: Another process has not let go within the limit.
    """
    try:
        with hold(path, lambda line: say(f"tracking: {line}"), limit):
            yield
    except TryAgainError as error:
        raise TrackingError(str(error)) from None
