"""Locks between processes, on the library ``filelock``: they end with the process that holds them, however it ends.

No wait is silent: after five seconds a line says what is waited for, and a wait that has a limit ends with a remedy.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.core.errors import TryAgainError
from pipeline.core.say import Say

#: Seconds that a wait may last before a line says what is waited for.
SILENCE = 5.0
#: Seconds between two looks at locks that another process holds.
EVERY = 0.2

_kept: list[FileLock] = []


def tell(line: str) -> None:
    """Say a line where nobody else was named to be told."""
    print(f"organseg: {line}", file=sys.stderr, flush=True)


@contextmanager
def hold(path: Path, say: Say = tell, limit: float | None = None) -> Iterator[None]:
    """Hold an exclusive lock on a file, waiting for another process that holds it.

    Args:
        path: The lock file; it and its folder are made and stay.
        say: Told once, when the wait has lasted five seconds.
        limit: Seconds after which the wait ends; ``None`` where the other's work may take as long as it likes.

    Raises:
        TryAgainError: Another process held the lock for all of that time.
    """
    with hold_one([path], say, limit):
        yield


@contextmanager
def hold_one(paths: Sequence[Path], say: Say = tell, limit: float | None = None, every: float = EVERY) -> Iterator[int]:
    """Hold the first lock that is free of several, waiting while none is; gives its place in the list.

    Args:
        paths: The lock files; they and their folders are made and stay.
        say: Told once, when the wait has lasted five seconds.
        limit: Seconds after which the wait ends, or ``None``.
        every: Seconds from one look to the next.

    Raises:
        TryAgainError: Other processes held all of them for all of that time.
    """
    locks = [_lock(path) for path in paths]
    what = paths[0].stem if len(paths) == 1 else f"one of {len(paths)}, {paths[0].stem} …"
    began, said = time.monotonic(), False
    while (taken := _first_free(locks)) is None:
        waited = time.monotonic() - began
        if limit is not None and waited > limit:
            raise TryAgainError(
                f"waited {limit:.0f} s for another process that is at the same work ({what})",
                where=str(paths[0]),
                remedy="Let it end, or stop it, and run this again.",
            )
        if not said and waited >= SILENCE:
            say(f"waiting for another process that is at the same work ({what})")
            said = True
        time.sleep(every)
    try:
        yield taken
    finally:
        locks[taken].release()


@contextmanager
def hold_if_free(path: Path) -> Iterator[bool]:
    """Hold a lock if no other process does; gives whether it is held."""
    lock = _lock(path)
    held = _first_free([lock]) is not None
    try:
        yield held
    finally:
        if held:
            lock.release()


def hold_for_good(path: Path) -> bool:
    """Hold a lock for as long as this process lives, if no other holds it; gives whether it is held."""
    lock = _lock(path)
    if _first_free([lock]) is None:
        return False
    _kept.append(lock)
    return True


def _lock(path: Path) -> FileLock:
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path)


def _first_free(locks: Sequence[FileLock]) -> int | None:
    for index, lock in enumerate(locks):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        return index
    return None
