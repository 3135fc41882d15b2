"""What is wrong with the numbers of one cell, in words that name the token."""

from __future__ import annotations

import numpy as np

from pipeline.core.errors import InputError
from pipeline.formats.rle.dialects import Dialect
from pipeline.formats.rle.edges import Ints


def pair_fault(numbers: Ints, height: int, width: int, dialect: Dialect) -> InputError:
    """What keeps pairs of numbers from being runs."""
    if numbers.size % 2:
        return InputError(
            f"holds {numbers.size} numbers, not an even count",
            where=f"token {numbers.size}",
            remedy="Starts and lengths come in pairs; the cell was cut short or is in another dialect.",
        )
    starts, lengths = numbers[0::2], numbers[1::2]
    wrong = np.flatnonzero(lengths < 1)
    if wrong.size:
        return InputError(
            f"the run's length is {int(lengths[wrong[0]])}",
            where=f"token {2 * int(wrong[0]) + 2}",
            remedy="A run has at least one pixel.",
        )
    if dialect.kind == "gap-length":
        below = np.flatnonzero(starts[1:] < 0) + 1
        if below.size:
            return InputError(
                f"the gap {int(starts[below[0]])} is negative, so its run would overlap the one before",
                where=f"token {2 * int(below[0]) + 1}",
            )
        starts = np.cumsum(starts + lengths) - lengths
    return place_fault(starts - dialect.base, lengths, height, width, dialect)


def place_fault(starts: Ints, lengths: Ints, height: int, width: int, dialect: Dialect) -> InputError:
    """Which run lies outside the picture, or over or before the one before it."""
    if starts[0] < 0:
        first = int(starts[0]) + dialect.base
        two = " (the file counts pixels from 0, or this cell is wrong)" if first == 0 else ""
        return InputError(
            f"the run begins at {first}, before the first pixel, which is {dialect.base} in {dialect.name}{two}",
            where="token 1",
            remedy=f"If the first pixel is 0, name the dialect {dialect.order}s-from-0.",
        )
    stops = starts + lengths
    early = np.concatenate(([False], starts[1:] < stops[:-1]))
    index = int(np.argmax(early | (stops > height * width) | (stops < starts)))
    where = f"token {2 * index + 1}"
    start = int(starts[index]) + dialect.base
    if early[index]:
        before = int(starts[index - 1]) + dialect.base
        fault = "overlaps" if start >= before else "is not sorted after"
        return InputError(
            f"the run at {start} {fault} the run at {before} of length {int(lengths[index - 1])}", where=where
        )
    return InputError(
        f"the run at {start} of length {int(lengths[index])} runs past the end of a picture of {height}×{width}",
        where=where,
        remedy="The size (height × width) or the dialect may be another one.",
    )


def count_fault(counts: Ints, height: int, width: int, dialect: Dialect) -> InputError:
    """What keeps lengths of background and object from filling the picture."""
    negative, zero = np.flatnonzero(counts < 0), np.flatnonzero(counts[1:] == 0)
    if negative.size:
        return InputError(f"the count {int(counts[negative[0]])} is negative", where=f"token {int(negative[0]) + 1}")
    if zero.size:
        return InputError("the count is 0", where=f"token {int(zero[0]) + 2}", remedy="Only the first may be 0.")
    return InputError(
        f"the counts add up to {total(counts, height * width)}, not to the {height * width} pixels of a picture of "
        f"{height}×{width}",
        where=f"token {counts.size}",
        remedy="The size (height × width) or the dialect may be another one.",
    )


def total(counts: Ints, size: int) -> int:
    """The sum of counts; the largest alone where it is too large, as a sum of such may overflow."""
    return int(counts.sum()) if not counts.size or counts.max() <= size else int(counts.max())
