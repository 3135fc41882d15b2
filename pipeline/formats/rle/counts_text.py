"""COCO's compressed counts: run lengths as printable text, six bits a character.

The scheme is that of ``rleToString`` and ``rleFrString`` in the COCO API (``maskApi.c``, P. Dollár and T.-Y. Lin,
2015): from the fourth count on each is written as the difference from the one two before it, in groups of five bits,
lowest first, with a sixth bit that says whether more follow, offset by 48; the last group's highest bit is the sign.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.formats.rle.numbers import Ints

_OFFSET = 48
_GROUPS = 12


def compress_counts(counts: Ints) -> str:
    """Write counts as COCO's compressed text."""
    if not counts.size:
        return ""
    # Arithmetic on 32 bits is faster, and counts of almost every picture fit in them.
    values: NDArray[Any] = counts.astype(np.int32 if int(counts.max()) < 2**31 else np.int64)
    values[3:] -= values[1:-2].copy()
    # A group of five bits is the last one when what is left is only its sign: `~` maps negative numbers onto others
    # of the same reach.
    reach = values ^ (values >> (values.dtype.itemsize * 8 - 1))
    more = [reach >= 16]
    while more[-1].any():
        more.append(reach >= 1 << (5 * len(more) + 4))
    groups = np.empty((len(more), values.size), np.uint8)
    for place, follows in enumerate(more):
        groups[place] = (values & 31) + _OFFSET
        groups[place] += follows.view(np.uint8) << 5
        values >>= 5
    keep = np.stack([np.ones(values.size, np.bool_), *more[:-1]])
    return groups.T[keep.T].tobytes().decode("ascii")


def expand_counts(text: str) -> Ints:
    """Read COCO's compressed text.

    Raises:
        InputError: A character lies outside the scheme, or the text ends inside a number.
    """
    if not text:
        return np.empty(0, np.int64)
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
    # Each count is its difference plus the count two before it, from the fourth on: two interleaved sums.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
