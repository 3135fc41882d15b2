"""Runs of many pictures in one set of arrays: what costs Python a call a mask costs NumPy a call a few hundred masks.

The methods are those of :class:`pipeline.formats.rle.runs.Runs`, and give the same for each picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.formats.rle.numbers import Ints
from pipeline.formats.rle.runs import Order, Runs, odd_ones

#: Up to this many pixels, sums over a picture of twice the index of every pixel fit in 64 bits.
_SUMMABLE = 2**30
_NEAR_BYTES = 2**18


@dataclass(frozen=True, slots=True)
class Sheaf:
    """Runs of ``N`` pictures.

    Attributes:
        starts: ``(R,)`` 0-based flat index of each run in its picture.
        lengths: ``(R,)`` pixels of each run.
        bounds: ``(N + 1,)``; the runs of picture *n* are those from ``bounds[n]`` to ``bounds[n + 1]``.
        heights: ``(N,)`` rows of each picture.
        widths: ``(N,)`` columns of each picture.
        order: Flat order of all of them.
    """

    starts: Ints
    lengths: Ints
    bounds: Ints
    heights: Ints
    widths: Ints
    order: Order

    @classmethod
    def of(cls, pictures: Sequence[Runs]) -> Sheaf:
        """Gather runs; those in another order than the first are turned."""
        order = pictures[0].order
        pictures = [runs if runs.order == order else runs.to_order(order) for runs in pictures]
        sizes = np.array([(runs.starts.size, runs.height, runs.width) for runs in pictures], np.int64)
        return cls(
            np.concatenate([runs.starts for runs in pictures]),
            np.concatenate([runs.lengths for runs in pictures]),
            bounds_of(sizes[:, 0]),
            sizes[:, 1],
            sizes[:, 2],
            order,
        )

    def __len__(self) -> int:
        return int(self.heights.size)

    def pictures(self) -> list[Runs]:
        """The runs of each picture (views)."""
        bounds = self.bounds.tolist()
        sizes = zip(self.heights.tolist(), self.widths.tolist(), strict=True)
        return [
            Runs(self.starts[bounds[n] : bounds[n + 1]], self.lengths[bounds[n] : bounds[n + 1]], *size, self.order)
            for n, size in enumerate(sizes)
        ]

    @property
    def counts(self) -> Ints:
        """``(N,)`` number of runs."""
        return np.diff(self.bounds)

    @property
    def owner(self) -> Ints:
        """``(R,)`` picture that each run belongs to."""
        return np.repeat(np.arange(len(self)), self.counts)

    @property
    def lines(self) -> Ints:
        """``(N,)`` pixels of one line in the flat order."""
        return self.widths if self.order == "row" else self.heights

    def _line_of_runs(self) -> Ints | int:
        """Pixels of a line for each run; one number where all pictures agree, by which NumPy divides much faster."""
        lines = self.lines
        return int(lines[0]) if (lines == lines[0]).all() else lines[self.owner]

    @property
    def areas(self) -> Ints:
        """``(N,)`` number of pixels."""
        return np.diff(np.concatenate(([0], np.cumsum(self.lengths)))[self.bounds])

    def merged(self) -> Sheaf:
        """The same pixels with touching runs made one."""
        if self.starts.size < 2:
            return self
        stops = self.starts + self.lengths
        touching = self.starts[1:] == stops[:-1]
        inner = self.bounds[(self.bounds > 0) & (self.bounds < self.starts.size)]
        touching[inner - 1] = False
        if not touching.any():
            return self
        first = np.concatenate(([True], ~touching))
        last = np.concatenate((~touching, [True]))
        starts = self.starts[first]
        bounds = np.concatenate(([0], np.cumsum(first)))[self.bounds]
        return Sheaf(starts, stops[last] - starts, bounds, self.heights, self.widths, self.order)

    def to_order(self, order: Order) -> Sheaf:
        """The same pixels along the other order, by the method of :meth:`Runs.to_order`."""
        if order == self.order:
            return self
        if not self.starts.size:
            return Sheaf(self.starts, self.lengths, self.bounds, self.heights, self.widths, order)
        across = self.lines
        along = self.widths if self.order == "column" else self.heights
        # One stride serves all: keys of different pictures, lines and places never meet.
        wide, tall = int(across.max()) + 1, int(along.max()) + 1
        line, begin, end = self._segments(tall)
        keys = np.concatenate((line * wide + begin, line * wide + end))
        # What is gathered are a few ascending sequences, which a merging sort puts in order fastest.
        keys = odd_ones(np.sort(np.concatenate((keys, keys + wide)), kind="stable"))
        left, right = keys[0::2], keys[1::2]
        widths = right - left
        border, place = _divided(left, wide)
        picture, border = _divided(border, tall)
        head = picture * (wide * tall) + place * tall + border
        # The places of one border lie a whole line apart in the crossing order.
        steps = np.arange(int(widths.sum())) - np.repeat(np.cumsum(widths) - widths, widths)
        crossing = np.sort(np.repeat(head, widths) + steps * tall)
        picture, rest = _divided(crossing[0::2], wide * tall)
        size = along[picture]
        place, border = _divided(rest, tall)
        starts = place * size + border
        place, border = _divided(crossing[1::2] - picture * (wide * tall), tall)
        bounds = bounds_of(np.bincount(picture, minlength=len(self)))
        turned = Sheaf(starts, place * size + border - starts, bounds, self.heights, self.widths, order)
        return turned.merged()

    def _segments(self, tall: int) -> tuple[Ints, Ints, Ints]:
        """Runs cut at the ends of lines; the lines of picture *n* count from ``n · tall``."""
        owner = self.owner
        line = self._line_of_runs()
        first = self.starts // line
        stops = self.starts + self.lengths
        last = (stops - 1) // line
        begin = self.starts - first * line
        first = first + owner * tall
        last = last + owner * tall
        if np.array_equal(first, last):
            return first, begin, begin + self.lengths
        pieces = last - first + 1
        run = np.repeat(np.arange(pieces.size), pieces)
        step = np.arange(run.size) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        line = line if isinstance(line, int) else line[run]
        shift = begin[run] - step * line
        return first[run] + step, np.maximum(shift, 0), np.minimum(shift + self.lengths[run], line)

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
        """``(N, 2)`` mean row and mean column; ``NaN`` in pictures without a pixel."""
        middle = np.full((len(self), 2), np.nan)
        filled = np.flatnonzero(self.counts)
        if int((self.heights * self.widths).max(initial=0)) > _SUMMABLE:
            for n, runs in enumerate(self.pictures()):
                middle[n] = runs.centroid() or (np.nan, np.nan)
            return middle
        line = self._line_of_runs()
        stops = self.starts + self.lengths
        begin = self.bounds[filled]
        flat = _sums((self.starts + stops - 1) * self.lengths, begin)
        lines = _sums(_sum_of_lines(stops, line) - _sum_of_lines(self.starts, line), begin)
        area = self.areas[filled]
        # Twice the sum of flat indices less twice that of the lines' first ones: exact, as all are whole numbers.
        across = (flat - 2 * self.lines[filled] * lines) / (2 * area)
        along = lines / area
        middle[filled] = np.stack((along, across) if self.order == "row" else (across, along), axis=1)
        return middle

    def checksums(self, heads: Sequence[str]) -> list[str]:
        """Checksums as :func:`pipeline.formats.rle.volume.checksum` gives them, without painting the pictures.

        The bits are those of the picture by rows, so the order must be ``row``.

        Args:
            heads: ``SLICESxROWSxCOLUMNS:`` of each picture.
        """
        sizes = -(-self.heights * self.widths // 8)
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


def bounds_of(counts: Ints) -> Ints:
    """Where each of several lists begins and ends when they stand one after the other, ``(N + 1,)``."""
    bounds = np.zeros(counts.size + 1, np.int64)
    np.cumsum(counts, out=bounds[1:])
    return bounds


def _divided(values: Ints, divisor: int) -> tuple[Ints, Ints]:
    """Quotients and remainders; dividing once by one number is several times faster than ``divmod``."""
    quotient = values // divisor
    return quotient, values - quotient * divisor


def _sums(values: Ints, begin: Ints) -> Ints:
    return np.add.reduceat(values, begin) if begin.size else np.empty(0, np.int64)


def _sum_of_lines(stops: Ints, line: Ints | int) -> Ints:
    """Sum of ``k // line`` over ``0 ≤ k < stop``, for each stop."""
    whole = stops // line
    return line * ((whole * (whole - 1)) >> 1) + whole * (stops - whole * line)
