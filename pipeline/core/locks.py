"""Locks that end with the process that holds them."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hold(path: Path, say: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold an exclusive lock on a file, waiting for another process that holds it.

    The kernel releases it when the process ends, however it ends, so a killed job leaves no lock behind.

    Args:
        path: The lock file; it and its folder are made and stay.
        say: Told once if there is waiting to do.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if say is not None:
                say(f"waiting for another process that is at the same work ({path.stem})")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def hold_one(paths: Sequence[Path], say: Callable[[str], None] | None = None, every: float = 1.0) -> Iterator[int]:
    """Hold the first lock that is free of several, waiting while none is; gives its place in the list.

    Args:
        paths: The lock files; they and their folders are made and stay.
        say: Told once if there is waiting to do.
        every: Seconds from one look to the next.
    """
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    descriptors = [os.open(path, os.O_RDWR | os.O_CREAT) for path in paths]
    try:
        while (taken := _first_free(descriptors)) is None:
            if say is not None:
                say(f"waiting for one of {len(paths)} ({paths[0].stem} …): other processes have them all")
                say = None
            time.sleep(every)
        yield taken
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _first_free(descriptors: Sequence[int]) -> int | None:
    for index, descriptor in enumerate(descriptors):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return index
    return None
