"""COCO's compressed counts: run lengths as printable text, six bits a character.

The scheme is that of ``rleToString`` and ``rleFrString`` in the COCO API (``maskApi.c``, P. Dollár and T.-Y. Lin,
2015): from the fourth count on each is written as the difference from the one two before it, in groups of five bits,
lowest first, with a sixth bit that says whether more follow, offset by 48; the last group's highest bit is the sign.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.formats.rle.edges import Ints

_OFFSET = 48
_GROUPS = 12


def compress_counts(counts: Ints, bounds: Ints) -> list[str]:
    """Write several lists of counts, that of text *n* from ``bounds[n]`` to ``bounds[n + 1]``."""
    if not counts.size:
        return [""] * (bounds.size - 1)
    # Arithmetic on 32 bits is faster, and counts of almost every picture fit in them.
    values: NDArray[Any] = counts.astype(np.int32 if int(counts.max()) < 2**24 else np.int64)
    values[3:] -= values[1:-2].copy()
    for place in range(3):
        # The first three of each list are written as they are.
        at = bounds[1:-1] + place
        at = at[at < bounds[2:]]
        values[at] = counts[at]
    # A group of five bits is the last one when what is left is only its sign: `^` maps negative numbers onto others
    # of the same reach.
    reach = values ^ (values >> (values.dtype.itemsize * 8 - 1))
    groups = np.ones(values.size, np.int64)
    for place in range(int(reach.max()).bit_length() // 5 + 1):
        groups += reach >= values.dtype.type(16) << 5 * place
    ends = np.cumsum(groups)
    letters = np.empty(int(ends[-1]), np.uint8)
    at = ends - groups
    while at.size:
        more = reach >= 16
        letters[at] = (values & 31) + (more * 32 + _OFFSET)
        # Few numbers have a second group, and fewer a third.
        left = np.flatnonzero(more)
        at, values, reach = at[left] + 1, values[left] >> 5, reach[left] >> 5
    text = letters.tobytes().decode("ascii")
    if bounds.size == 2:
        return [text]
    cuts = np.concatenate(([0], ends))[bounds].tolist()
    return [text[begin:end] for begin, end in itertools.pairwise(cuts)]


def expand_counts(texts: Sequence[str]) -> tuple[Ints, list[int]]:
    """Read COCO's compressed texts.

    Returns:
        The counts of all texts, and how many each has.

    Raises:
        InputError: A character lies outside the scheme, or a text ends inside a number; ``where`` names the character
            of one text.
    """
    joined = "".join(texts)
    if not joined:
        return np.empty(0, np.int64), [0] * len(texts)
    values, ends = _signed_groups(joined)
    if len(texts) == 1:
        # Each count is its difference plus the count two before it, from the fourth on: two interleaved sums.
        values[1::2] = np.cumsum(values[1::2])
        values[2::2] = np.cumsum(values[2::2])
        return values, [values.size]
    reach = np.cumsum([len(text) for text in texts])
    upto = np.searchsorted(ends, reach - 1, side="right")
    if not np.array_equal(np.append(-1, ends)[upto], reach - 1):
        raise InputError("ends in the middle of a number", remedy="The text was cut short.")
    bounds = np.concatenate(([0], upto))
    numbers = np.diff(bounds)
    # The same sums through all texts, less what they held when each began: at odd places up to the value before it, at
    # even ones with its first.
    sums = np.empty(values.size, np.int64)
    for parity in (0, 1):
        sums[parity::2] = np.cumsum(values[parity::2])
    owner = np.repeat(bounds[:-1], numbers)
    before = np.where((np.arange(values.size) - owner) % 2 == 1, owner - 1, owner)
    counts = sums - np.where(before >= 0, sums[before], 0)
    first = bounds[:-1][numbers > 0]
    counts[first] = values[first]
    return counts, numbers.tolist()


def _signed_groups(text: str) -> tuple[Ints, Ints]:
    """Numbers as they are written, differences not yet summed, and the place of each one's last character.

    Raises:
        InputError: A character lies outside the scheme, or the text ends inside a number.
    """
    codes = np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64) - _OFFSET
    wrong = np.flatnonzero((codes < 0) | (codes > 63))
    if wrong.size:
        raise InputError(
            f"{text.encode()[wrong[0] : wrong[0] + 1]!r} is not a character of COCO's compressed counts",
            where=f"character {wrong[0] + 1}",
            remedy="Check that the text was not cut, quoted or escaped twice.",
        )
    last = np.flatnonzero(codes < 32)
    if not last.size or last[-1] != codes.size - 1:
        raise InputError(
            "ends in the middle of a number", where=f"character {codes.size}", remedy="The text was cut short."
        )
    begins = np.concatenate(([0], last[:-1] + 1))
    lengths = last - begins + 1
    if int(lengths.max()) > _GROUPS:
        index = int(begins[int(lengths.argmax())])
        raise InputError("is a number of more than 60 bits", where=f"character {index + 1}")
    place = np.arange(codes.size) - np.repeat(begins, lengths)
    values = np.add.reduceat((codes & 31) << (5 * place), begins)
    negative = codes[last] & 16 != 0
    values -= np.where(negative, np.int64(1) << (5 * lengths), 0)
    return values, last
