"""Binary pictures as runs along their rows or columns, and what can be told from runs without painting them.

Runs of many pictures stand in one set of arrays: what costs Python a call a mask costs NumPy a call a few hundred
masks. One picture is a batch of one.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.formats.rle.edges import Ints, Mask, edges_of

Order = Literal["row", "column"]

#: Up to this many pixels, sums over a picture of twice the index of every pixel fit in 64 bits.
_SUMMABLE = 2**30
_NEAR_BYTES = 2**18


@dataclass(frozen=True, slots=True)
class Runs:
    """The pixels of ``N`` objects, each in a picture of its own, as runs along a flat order.

    Attributes:
        starts: ``(R,)`` 0-based flat index of each run's first pixel in its picture, ascending within a picture.
        lengths: ``(R,)`` pixels of each run, at least 1; runs may touch, and never overlap.
        bounds: ``(N + 1,)``; the runs of picture *n* are those from ``bounds[n]`` to ``bounds[n + 1]``.
        heights: ``(N,)`` rows of each picture.
        widths: ``(N,)`` columns of each picture.
        order: ``row``: flat index = row · width + column. ``column``: flat index = column · height + row.
    """

    starts: Ints
    lengths: Ints
    bounds: Ints
    heights: Ints
    widths: Ints
    order: Order

    @classmethod
    def of_one(cls, starts: Ints, lengths: Ints, height: int, width: int, order: Order) -> Runs:
        """The runs of one picture."""
        return cls(starts, lengths, np.array((0, starts.size)), np.array((height,)), np.array((width,)), order)

    @classmethod
    def empty(cls, height: int, width: int, order: Order) -> Runs:
        """One picture without a pixel."""
        none = np.empty(0, np.int64)
        return cls.of_one(none, none, height, width, order)

    @classmethod
    def from_mask(cls, mask: Mask, order: Order) -> Runs:
        """Runs of a ``(height, width)`` boolean picture; touching runs are one."""
        mask = np.asarray(mask, np.bool_)
        if mask.ndim != 2:
            raise ValueError(f"a picture is (height, width), not {mask.shape}")
        edges = edges_of(mask if order == "row" else mask.T)
        starts = edges[0::2]
        height, width = mask.shape
        return cls.of_one(starts, edges[1::2] - starts, height, width, order)

    @classmethod
    def from_volume(cls, stack: Mask, order: Order) -> Runs:
        """Runs through all slices of ``(slices, rows, columns)``, as of one picture of all, one after the other.

        By rows that picture has the slices below each other, by columns beside each other.
        """
        depth, height, width = stack.shape
        if order == "row":
            return cls.from_mask(stack.reshape(depth * height, width), "row")
        flat = np.ascontiguousarray(stack.transpose(0, 2, 1)).reshape(depth * width, height)
        return cls.from_mask(flat.T, "column")

    @classmethod
    def from_stack(cls, stack: Mask, order: Order) -> Runs:
        """Runs of each picture of a stack ``(N, rows, columns)``."""
        # One sweep through all of them, whose runs are cut where a picture ends.
        return cls.from_volume(stack, order).slices(len(stack))

    @classmethod
    def gather(cls, parts: Sequence[Runs]) -> Runs:
        """One batch of single pictures; those in another order than the first are turned."""
        if len(parts) == 1:
            return parts[0]
        order = parts[0].order
        parts = [runs if runs.order == order else runs.to_order(order) for runs in parts]
        return cls(
            np.concatenate([runs.starts for runs in parts]),
            np.concatenate([runs.lengths for runs in parts]),
            bounds_of([runs.starts.size for runs in parts]),
            np.concatenate([runs.heights for runs in parts]),
            np.concatenate([runs.widths for runs in parts]),
            order,
        )

    def __len__(self) -> int:
        return self.heights.size

    def __iter__(self) -> Iterator[Runs]:
        """The pictures one by one (views)."""
        bounds = self.bounds.tolist()
        own = np.zeros((len(self), 2), np.int64)
        own[:, 1] = self.counts
        rest = zip(own, self.heights.reshape(-1, 1), self.widths.reshape(-1, 1), strict=True)
        for (begin, end), one in zip(itertools.pairwise(bounds), rest, strict=True):
            yield Runs(self.starts[begin:end], self.lengths[begin:end], *one, self.order)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of one picture, the first."""
        return int(self.heights[0]), int(self.widths[0])

    @property
    def sizes(self) -> Ints:
        """``(N,)`` pixels of each picture."""
        return self.heights * self.widths

    @property
    def counts(self) -> Ints:
        """``(N,)`` number of runs."""
        return self.bounds[1:] - self.bounds[:-1]

    @property
    def areas(self) -> Ints:
        """``(N,)`` number of pixels of the objects."""
        return np.diff(np.concatenate(([0], np.cumsum(self.lengths)))[self.bounds])

    @property
    def lines(self) -> Ints:
        """``(N,)`` pixels of one line in the flat order: the width by rows, the height by columns."""
        return self.widths if self.order == "row" else self.heights

    @property
    def owner(self) -> Ints:
        """``(R,)`` picture that each run belongs to."""
        return np.repeat(np.arange(len(self)), self.counts)

    def _line_of_runs(self) -> Ints | int:
        """Pixels of a line for each run; one number where all pictures agree, by which NumPy divides much faster."""
        lines = self.lines
        return int(lines[0]) if len(self) == 1 or (lines == lines[0]).all() else lines[self.owner]

    def within(self, pairs: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What is said of each run and the one before it, ``(R - 1,)``, unsaid where those are of two pictures."""
        if len(self) > 1:
            pairs[self.bounds[(self.bounds > 0) & (self.bounds < self.starts.size)] - 1] = False
        return pairs

    def paint(self) -> Mask:
        """The ``(height, width)`` boolean picture of a batch of one, contiguous along the order of its runs."""
        height, width = self.shape
        edges = np.empty(2 * self.starts.size + 2, np.int64)
        edges[0], edges[-1] = 0, height * width
        edges[1:-1:2] = self.starts
        edges[2:-1:2] = self.starts + self.lengths
        inside = np.zeros(edges.size - 1, np.bool_)
        inside[1::2] = True
        flat = np.repeat(inside, np.diff(edges))
        return flat.reshape(height, width) if self.order == "row" else flat.reshape(width, height).T

    def merged(self) -> Runs:
        """The same pixels with touching runs made one, as :meth:`from_mask` gives them."""
        stops = self.starts + self.lengths
        touching = self.within(self.starts[1:] == stops[:-1])
        if not touching.any():
            return self
        first = np.concatenate(([True], ~touching))
        last = np.concatenate((~touching, [True]))
        starts = self.starts[first]
        bounds = bounds_of(first)[self.bounds]
        return Runs(starts, stops[last] - starts, bounds, self.heights, self.widths, self.order)

    def united(self) -> Runs:
        """The pixels of all pictures, which are of one size, in one."""
        if len(self) == 1:
            return self
        rank = np.argsort(self.starts, kind="stable")
        starts, stops = covered(self.starts[rank], (self.starts + self.lengths)[rank])
        return Runs.of_one(starts, stops - starts, *self.shape, self.order)

    def slices(self, depth: int) -> Runs:
        """The slices of a volume that :meth:`from_volume` made one picture of."""
        if depth == 1:
            return self
        height, width = self.slice_shape(depth)
        index, begin, end = Runs.of_one(self.starts, self.lengths, depth, height * width, "row").segments()
        bounds = np.searchsorted(index, np.arange(depth + 1))
        return Runs(begin, end - begin, bounds, np.full(depth, height), np.full(depth, width), self.order)

    def slice_shape(self, depth: int) -> tuple[int, int]:
        """Rows and columns of a slice of such a volume."""
        height, width = self.shape
        return (height // depth, width) if self.order == "row" else (height, width // depth)

    def joined(self) -> Runs:
        """Undo :meth:`slices`."""
        (height, width), depth = self.shape, len(self)
        starts = self.starts + self.owner * (height * width)
        size = (height * depth, width) if self.order == "row" else (height, width * depth)
        return Runs.of_one(starts, self.lengths, *size, self.order).merged()

    def segments(self) -> tuple[Ints, Ints, Ints]:
        """Runs cut at the ends of lines: line, first and one past the last place in it, each ``(S,)``.

        The lines of picture *n* count from ``n · (L + 1)``, where ``L`` is the largest number of lines of any picture,
        so that no lines of two pictures are neighbours.
        """
        line = self._line_of_runs()
        first = self.starts // line
        begin = self.starts - first * line
        last = (self.starts + self.lengths - 1) // line
        if len(self) > 1:
            before = self.owner * (int((self.heights if self.order == "row" else self.widths).max()) + 1)
            first, last = first + before, last + before
        if np.array_equal(first, last):
            return first, begin, begin + self.lengths
        pieces = last - first + 1
        run = np.repeat(np.arange(pieces.size), pieces)
        step = counted(pieces)
        line = line if isinstance(line, int) else line[run]
        shift = begin[run] - step * line
        return first[run] + step, np.maximum(shift, 0), np.minimum(shift + self.lengths[run], line)

    def to_order(self, order: Order) -> Runs:
        """The same pixels along the other order, from the outline alone: no picture is painted.

        Where the coverage of a line differs from that of the line before it, a run of the crossing direction begins or
        ends. The places that differ are the exclusive or of two sorted lists of intervals, so the work grows with the
        outline and not with the picture.
        """
        if order == self.order:
            return self
        if not self.starts.size:
            return Runs(self.starts, self.lengths, self.bounds, self.heights, self.widths, order)
        across, along = (self.widths, self.heights) if self.order == "row" else (self.heights, self.widths)
        # One stride serves all: keys of different pictures, lines and places never meet.
        wide, tall = int(across.max()) + 1, int(along.max()) + 1
        line, begin, end = self.segments()
        keys = np.concatenate((line * wide + begin, line * wide + end))
        # What is gathered are a few ascending sequences, which a merging sort puts in order fastest.
        keys = _odd_ones(np.sort(np.concatenate((keys, keys + wide)), kind="stable"))
        left, right = keys[0::2], keys[1::2]
        widths = right - left
        border, place = _divided(left, wide)
        head, size = place * tall + border, along[0]
        if len(self) > 1:
            picture, border = _divided(border, tall)
            head = picture * (wide * tall) + place * tall + border
        # The places of one border lie a whole line apart in the crossing order.
        crossing = np.sort(np.repeat(head, widths) + counted(widths) * tall)
        counts: Ints | list[int] = [crossing.size // 2]
        if len(self) > 1:
            picture = crossing[0::2] // (wide * tall)
            crossing -= np.repeat(picture * (wide * tall), 2)
            counts, size = np.bincount(picture, minlength=len(self)), np.repeat(along[picture], 2)
        place, border = _divided(crossing, tall)
        edges = place * size + border
        starts = edges[0::2]
        bounds = bounds_of(counts)
        return Runs(starts, edges[1::2] - starts, bounds, self.heights, self.widths, order).merged()

    def bounding_boxes(self) -> Ints:
        """``(N, 4)``: first row, first column, last row, last column; −1 in pictures without a pixel."""
        boxes = np.full((len(self), 4), -1, np.int64)
        filled = np.flatnonzero(self.counts)
        if not filled.size:
            return boxes
        line = self._line_of_runs()
        stops = self.starts + self.lengths - 1
        first, last = self.starts // line, stops // line
        whole = first != last
        near = np.where(whole, 0, self.starts - first * line)
        far = np.where(whole, line - 1, stops - last * line)
        begin = self.bounds[filled]
        low, high = first[begin], last[self.bounds[filled + 1] - 1]
        near, far = np.minimum.reduceat(near, begin), np.maximum.reduceat(far, begin)
        box = (low, near, high, far) if self.order == "row" else (near, low, far, high)
        boxes[filled] = np.stack(box, axis=1)
        return boxes

    def centroids(self) -> NDArray[np.float64]:
        """``(N, 2)`` mean row and mean column of the pixels; ``NaN`` in pictures without a pixel."""
        middle = np.full((len(self), 2), np.nan)
        filled = np.flatnonzero(self.counts)
        if not filled.size:
            return middle
        # Whole numbers as long as they fit: then every sum is exact.
        number: type[Any] = np.int64 if int(self.sizes.max()) <= _SUMMABLE else np.float64
        starts, lengths = self.starts.astype(number), self.lengths.astype(number)
        stops = starts + lengths
        line, begin, area = self._line_of_runs(), self.bounds[filled], self.areas[filled]
        flat = np.add.reduceat((starts + stops - 1) * lengths, begin)
        lines = np.add.reduceat(_sum_of_lines(stops, line) - _sum_of_lines(starts, line), begin)
        # Twice the sum of flat indices less twice that of the lines' first ones.
        across = (flat - 2 * self.lines[filled] * lines) / (2 * area)
        along = lines / area
        middle[filled] = np.stack((along, across) if self.order == "row" else (across, along), axis=1)
        return middle

    def checksums(self, heads: Sequence[str]) -> list[str]:
        """Checksums of the pictures, which :func:`pipeline.formats.rle.volume.checksums` defines.

        The bits are those of the picture by rows, so the order must be ``row``.

        Args:
            heads: ``SLICESxROWSxCOLUMNS:`` of each picture.
        """
        sizes = -(-self.sizes // 8)
        found: list[str] = []
        while len(found) < len(self):
            # Some pictures at once, few enough for their bits to stay in the processor's cache.
            first = len(found)
            fitting = int(np.searchsorted(np.cumsum(sizes[first:]), _NEAR_BYTES, side="right"))
            begins = bounds_of(sizes[first : first + max(fitting, 1)])
            bits = self._bits(first, begins).data
            for head, begin, end in zip(heads[first:], begins.tolist(), begins[1:].tolist(), strict=False):
                digest = hashlib.sha256(head.encode())
                digest.update(bits[begin:end])
                found.append(digest.hexdigest()[:16])
        return found

    def _bits(self, first: int, begins: Ints) -> NDArray[np.uint8]:
        """Pictures from the ``first`` on as bits, each from byte ``begins[n]`` on, the first pixel in the highest."""
        bounds = self.bounds[first : first + begins.size]
        starts = self.starts[bounds[0] : bounds[-1]]
        origin = np.repeat(8 * begins[:-1], np.diff(bounds))
        edges = np.empty(2 * starts.size, np.int64)
        edges[0::2] = starts + origin
        edges[1::2] = edges[0::2] + self.lengths[bounds[0] : bounds[-1]]
        byte = edges >> 3
        # Every edge turns over all bits from its own on: the bytes after its own as a whole, its own in part.
        inside = np.zeros(edges.size + 1, np.uint8)
        inside[1::2] = 255
        filled = np.repeat(inside, np.diff(byte, prepend=-1, append=int(begins[-1])))
        np.bitwise_xor.at(filled, byte, (255 >> (edges & 7)).astype(np.uint8))
        return filled


def bounds_of(counts: Ints | NDArray[np.bool_] | Sequence[int]) -> Ints:
    """Where each of several lists begins and ends when they stand one after the other, ``(N + 1,)``."""
    if len(counts) == 1:
        return np.array((0, int(counts[0])))
    bounds = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=bounds[1:])
    return bounds


def counted(counts: Ints) -> Ints:
    """From 0 upwards in each of several lists that stand one after the other."""
    bounds = bounds_of(counts)
    return np.arange(bounds[-1]) - np.repeat(bounds[:-1], counts)


def covered(starts: Ints, stops: Ints) -> tuple[Ints, Ints]:
    """What sorted intervals cover that may touch and overlap, as intervals that do neither."""
    if not starts.size:
        return starts, stops
    reach = np.maximum.accumulate(stops)
    first = np.concatenate(([True], starts[1:] > reach[:-1]))
    return starts[first], reach[np.concatenate((first[1:], [True]))]


def _odd_ones(keys: Ints) -> Ints:
    """The values that occur an odd number of times in a sorted array, once each."""
    first = np.concatenate(([True], keys[1:] != keys[:-1]))
    begins = np.flatnonzero(first)
    counts = np.diff(np.append(begins, keys.size))
    return keys[begins[counts % 2 == 1]]


def _divided(values: Ints, divisor: int) -> tuple[Ints, Ints]:
    """Quotients and remainders; dividing once by one number is several times faster than ``divmod``."""
    quotient = values // divisor
    return quotient, values - quotient * divisor


def _sum_of_lines(stops: NDArray[Any], line: Ints | int) -> NDArray[Any]:
    """Sum of ``k // line`` over ``0 ≤ k < stop``, for each stop."""
    whole = stops // line
    return line * (whole * (whole - 1) // 2) + whole * (stops - whole * line)
