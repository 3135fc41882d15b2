"""Where runs begin and end in a binary picture: the pixels that differ from the one before them."""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: Eight pixels of an object as one number, and how many pixels are worth looking at so.
_FULL = np.uint64(0x0101010101010101)
_FEW = 4096


def edges_of(lines: Mask) -> Ints:
    """Flat indices, along the rows of ``lines``, where a run begins or has just ended, in turn."""
    if not lines.size:
        return np.empty(0, np.int64)
    if lines.flags.c_contiguous:
        return _flat_edges(lines.reshape(-1))
    if lines.T.flags.c_contiguous:
        return _crossing_edges(lines)
    return _flat_edges(np.ascontiguousarray(lines).reshape(-1))


def _flat_edges(flat: Mask) -> Ints:
    size = flat.size
    edges = _edges_by_words(flat)
    if edges is None:
        padded = np.zeros(size + 8 - size % 8, np.bool_)
        np.not_equal(flat[1:], flat[:-1], out=padded[1:size])
        padded[0] = flat[0]
        edges = _places(padded)
    return np.append(edges, size) if flat[-1] else edges


def _edges_by_words(flat: Mask) -> Ints | None:
    """Edges of pixels that are looked at eight at a time; ``None`` where that gains nothing or finds not all."""
    if flat.size % 8 or flat.size < _FEW or sys.byteorder != "little":
        return None
    words = flat.view(np.uint64)
    changed = np.flatnonzero(words[1:] != words[:-1])
    if changed.size * 8 > words.size:
        return None
    near = np.concatenate(([0], changed + 1))
    value = words[near]
    # A word that is neither empty nor full has edges inside; should it be repeated, those after it were not looked at.
    mixed = (value != 0) & (value != _FULL)
    following = np.append(near[1:], words.size)
    if (mixed & (following != near + 1)).any():
        return None
    before = words[near - 1]
    before[0] = 0
    # Eight pixels, each beside the one before it: the first pixel is the lowest byte.
    found = np.flatnonzero((value ^ (value << 8 | before >> 56)).view(np.bool_))
    return (near[found >> 3] << 3) + (found & 7)


def _places(marks: Mask) -> Ints:
    """Like ``np.flatnonzero`` for a multiple of 8 marks, faster where few are set."""
    words = np.flatnonzero(marks.view(np.uint64) != 0)
    if words.size * 8 > marks.size // 4:
        return np.flatnonzero(marks)
    found = np.flatnonzero(marks.reshape(-1, 8)[words])
    return (words[found >> 3] << 3) + (found & 7)


def _crossing_edges(lines: Mask) -> Ints:
    """Edges along the rows of an array that lies in memory by columns, without turning it."""
    count, length = lines.shape
    stored = lines.T
    size = lines.size
    marks = np.zeros(size + 8 - size % 8, np.bool_)
    by_place = marks[:size].reshape(length, count)
    np.not_equal(stored[1:], stored[:-1], out=by_place[1:])
    by_place[0, 0] = stored[0, 0]
    np.not_equal(stored[0, 1:], stored[-1, :-1], out=by_place[0, 1:])
    if np.count_nonzero(marks) > size // 64:
        return _flat_edges(np.ascontiguousarray(lines).reshape(-1))
    place, line = np.divmod(_places(marks), count)
    edges = np.sort(line * length + place)
    return np.append(edges, size) if lines[-1, -1] else edges
