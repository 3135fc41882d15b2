"""A binary picture as runs along its rows or columns, and what can be told from runs without painting them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.formats.rle.numbers import Ints

Order = Literal["row", "column"]
Mask = NDArray[np.bool_]

#: Eight pixels of an object as one number, and how many pixels are worth looking at so.
_FULL = np.uint64(0x0101010101010101)
_FEW = 4096


@dataclass(frozen=True, slots=True)
class Runs:
    """The pixels of one object in a picture, as runs along a flat order.

    Attributes:
        starts: 0-based flat index of each run's first pixel, ascending.
        lengths: Pixels of each run, at least 1; runs may touch, and never overlap.
        height: Rows of the picture.
        width: Columns of the picture.
        order: ``row``: flat index = row · width + column. ``column``: flat index = column · height + row.
    """

    starts: Ints
    lengths: Ints
    height: int
    width: int
    order: Order

    @property
    def size(self) -> int:
        """Pixels of the picture."""
        return self.height * self.width

    @property
    def line(self) -> int:
        """Pixels of one line in the flat order: the width by rows, the height by columns."""
        return self.width if self.order == "row" else self.height

    @property
    def count(self) -> int:
        """Number of runs."""
        return int(self.starts.size)

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(self.lengths.sum())

    @classmethod
    def empty(cls, height: int, width: int, order: Order) -> Runs:
        """No pixel at all."""
        none = np.empty(0, np.int64)
        return cls(none, none, height, width, order)

    @classmethod
    def from_mask(cls, mask: Mask, order: Order) -> Runs:
        """Runs of a ``(height, width)`` boolean picture; touching runs are one."""
        mask = np.asarray(mask, np.bool_)
        if mask.ndim != 2:
            raise ValueError(f"a picture is (height, width), not {mask.shape}")
        height, width = mask.shape
        lines = mask if order == "row" else mask.T
        edges = _edges(lines)
        starts = edges[0::2]
        return cls(starts, edges[1::2] - starts, height, width, order)

    def paint(self) -> Mask:
        """``(height, width)`` boolean picture, contiguous along the order of the runs."""
        edges = np.empty(2 * self.count + 2, np.int64)
        edges[0], edges[-1] = 0, self.size
        edges[1:-1:2] = self.starts
        edges[2:-1:2] = self.starts + self.lengths
        inside = np.zeros(edges.size - 1, np.bool_)
        inside[1::2] = True
        flat = np.repeat(inside, np.diff(edges))
        if self.order == "row":
            return flat.reshape(self.height, self.width)
        return flat.reshape(self.width, self.height).T

    def merged(self) -> Runs:
        """The same pixels with touching runs made one, as :meth:`from_mask` gives them."""
        touching = self.starts[1:] == (self.starts + self.lengths)[:-1]
        if not touching.any():
            return self
        first = np.concatenate(([True], ~touching))
        last = np.concatenate((~touching, [True]))
        starts = self.starts[first]
        return Runs(starts, (self.starts + self.lengths)[last] - starts, self.height, self.width, self.order)

    def union(self, other: Runs) -> Runs:
        """The pixels of either, in the order of this one."""
        other = other.to_order(self.order)
        starts = np.concatenate((self.starts, other.starts))
        rank = np.argsort(starts, kind="stable")
        starts = starts[rank]
        stops = np.maximum.accumulate(np.concatenate((self.starts + self.lengths, other.starts + other.lengths))[rank])
        if not starts.size:
            return self
        first = np.concatenate(([True], starts[1:] > stops[:-1]))
        last = np.concatenate((first[1:], [True]))
        return Runs(starts[first], stops[last] - starts[first], self.height, self.width, self.order)

    def segments(self) -> tuple[Ints, Ints, Ints]:
        """Runs cut at the ends of lines: line, first and one past the last place in it, each ``(S,)``."""
        line = self.line
        first = self.starts // line
        last = (self.starts + self.lengths - 1) // line
        if np.array_equal(first, last):
            place = self.starts - first * line
            return first, place, place + self.lengths
        pieces = last - first + 1
        owner = np.repeat(np.arange(self.count), pieces)
        lines = np.repeat(first - np.cumsum(pieces) + pieces, pieces) + np.arange(owner.size)
        begin = np.maximum(self.starts[owner] - lines * line, 0)
        end = np.minimum((self.starts + self.lengths)[owner] - lines * line, line)
        return lines, begin, end

    def to_order(self, order: Order) -> Runs:
        """The same pixels along the other order, from the outline alone: no picture is painted.

        Where the coverage of a line differs from that of the line before it, a run of the crossing direction begins or
        ends. The places that differ are the exclusive or of two sorted lists of intervals, so the work grows with the
        outline and not with the picture.
        """
        if order == self.order:
            return self
        across = self.line
        along = self.size // across if across else 0
        if not self.count:
            return Runs.empty(self.height, self.width, order)
        line, begin, end = self.segments()
        stride = across + 1
        keys = np.concatenate((line * stride + begin, line * stride + end))
        keys = np.sort(np.concatenate((keys, keys + stride)))
        keys = odd_ones(keys)
        left, right = keys[0::2], keys[1::2]
        widths = right - left
        flat = np.repeat(left - np.cumsum(widths) + widths, widths) + np.arange(int(widths.sum()))
        border, place = np.divmod(flat, stride)
        crossing = np.sort(place * (along + 1) + border)
        place, border = np.divmod(crossing, along + 1)
        edges = place * along + border
        starts = edges[0::2]
        return Runs(starts, edges[1::2] - starts, self.height, self.width, order).merged()

    def bounding_box(self) -> tuple[int, int, int, int] | None:
        """First row, first column, last row, last column (all inside the object), or ``None`` without a pixel."""
        if not self.count:
            return None
        line = self.line
        stops = self.starts + self.lengths - 1
        first, last = self.starts // line, stops // line
        low, high = int(first[0]), int(last.max())
        if np.array_equal(first, last):
            near, far = int((self.starts - first * line).min()), int((stops - last * line).max())
        else:
            whole = first != last
            near = 0 if whole.any() else int((self.starts - first * line).min())
            far = line - 1 if whole.any() else int((stops - last * line).max())
        return (low, near, high, far) if self.order == "row" else (near, low, far, high)

    def centroid(self) -> tuple[float, float] | None:
        """Mean row and mean column of the pixels, or ``None`` without a pixel."""
        if not self.count:
            return None
        line, area = self.line, self.area
        stops = self.starts + self.lengths
        # Whole numbers as long as they fit; the sum over a picture of 2³¹ pixels would not, hence the float.
        flat = float(((self.starts + stops - 1).astype(float) * self.lengths).sum()) / 2
        lines = float((_sum_of_lines(stops, line) - _sum_of_lines(self.starts, line)).sum())
        along, across = lines / area, (flat - line * lines) / area
        return (along, across) if self.order == "row" else (across, along)


def _edges(lines: Mask) -> Ints:
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


def odd_ones(keys: Ints) -> Ints:
    """The values that occur an odd number of times in a sorted array, once each."""
    first = np.concatenate(([True], keys[1:] != keys[:-1]))
    begins = np.flatnonzero(first)
    counts = np.diff(np.append(begins, keys.size))
    return keys[begins[counts % 2 == 1]]


def _sum_of_lines(stops: Ints, line: int) -> NDArray[np.float64]:
    """Sum of ``k // line`` over ``0 ≤ k < stop``, for each stop."""
    whole, rest = np.divmod(stops, line)
    return line * (whole.astype(float) * (whole - 1) / 2) + whole.astype(float) * rest
