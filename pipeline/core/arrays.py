"""Arrays that may be longer than memory: what is long lies in a file without a name, and the system can page it out."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

ROOM = 1 << 30  # bytes that one array may take in memory; longer ones lie in a file
LONG = 1 << 28  # bytes of a scan's own voxels that stay in memory; what is made of them needs the rest
CHUNK = 1 << 26  # bytes that are worked on at once
SMALL = 1 << 22  # bytes that are copied at once, in whatever order they lie
LINES = 64  # entries along the last axis that are turned together, so that they stay in the processor's caches
PADDING = 8  # entries between the lines of the buffer: lines a power of two apart would share their place in a cache


def zeros(shape: tuple[int, ...], room: int = ROOM, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Zeros in memory, or in a file without a name that the system drops when nobody uses it any more.

    Args:
        shape: Sides of the array.
        room: Bytes that it may take in memory.
        dtype: Its type.

    Raises:
        OSError: The disk has no room for the file.
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size <= room:
        return np.zeros(shape, kind)
    with tempfile.TemporaryFile() as file:
        # Taken at once: a page that the disk turns out to have no room for would end the process when it is written.
        # Systems without this call (macOS, Windows) give the file its length, and the room when it is written.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
        return np.memmap(file, kind, "r+", shape=shape)


def row_chunks(array: NDArray[Any], room: int = CHUNK) -> Iterator[slice]:
    """Rows of the first axis that hold at most ``room`` bytes, or one."""
    rows = max(room // max(array.nbytes // max(len(array), 1), 1), 1)
    return (slice(start, min(start + rows, len(array))) for start in range(0, len(array), rows))


def laid_out(array: NDArray[Any], room: int = LONG) -> NDArray[Any]:
    """The same values in C order, as ``np.ascontiguousarray``; a copy longer than ``room`` lies in a file.

    Args:
        array: Of any number of axes; of more than three, the first ones are walked along.
        room: Bytes that a copy may take in memory.
    """
    if array.flags.c_contiguous or (array.nbytes <= SMALL and array.nbytes <= room):
        return np.ascontiguousarray(array)
    copy = zeros(array.shape, room, array.dtype)
    for lead in np.ndindex(array.shape[:-3]):
        _turn(copy[lead], array[lead])
    return copy


def _turn(target: NDArray[Any], source: NDArray[Any]) -> None:
    """``target[...] = source`` of ``(X, Y, Z)`` with axes in other orders; of long ones in a tenth of the time.

    A block goes through a small buffer: into it along the source's lines, out of it along the target's.
    """
    along = int(np.argmin(np.abs(source.strides)))
    if source.ndim < 3 or along == 2:
        target[...] = source
        return
    across = 1 - along
    buffer = np.empty((LINES, source.shape[along] + PADDING), source.dtype)
    for row in range(source.shape[across]):
        at = (slice(None),) * across + (row,)
        for start in range(0, source.shape[2], LINES):
            part = source[at][:, start : start + LINES]
            held = buffer[: part.shape[1], : part.shape[0]].T
            held[...] = part
            target[at][:, start : start + LINES] = held
