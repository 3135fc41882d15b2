"""Lists of decimal numbers in text: parsed, and formatted, many at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.formats.rle.edges import Ints

#: Below this many numbers Python's own formatting is faster than arithmetic on arrays.
_SMALL = 400
#: No picture has as many pixels; sums of numbers below it overflow 64 bits only long after they passed its end.
_LIMIT = 10**12
#: Cells without a pixel in every dialect of pairs: what tools write for nothing, and a run of no length.
_NOTHING = frozenset(("", "-", "nan", "NaN", "None", "null", "[]", "1 0", "0 0"))
_LONGEST_NOTHING = max(map(len, _NOTHING))
#: Characters of a cell that Excel and LibreOffice keep; what goes beyond is dropped when they save.
SPREADSHEET_CELL = 32_767
_INTEGER = re.compile(r"[+-]?[0-9]{1,12}")
_INTEGRAL = re.compile(r"([+-]?[0-9]{1,12})\.0*")


def says_nothing(body: str) -> bool:
    """Whether a cell of starts and lengths means no pixel, whatever the dialect."""
    # Hashing a long cell costs as much as reading it.
    return len(body) <= _LONGEST_NOTHING and body in _NOTHING


def spreadsheet_fault() -> InputError:
    """A cell that is as long as a spreadsheet lets it be."""
    return InputError(
        f"the cell has exactly {SPREADSHEET_CELL:,} characters: it was cut by a spreadsheet, and runs are missing",
        remedy="Take the table as it was before it was opened in Excel or LibreOffice.",
    )


def parse_lists(texts: Sequence[str]) -> tuple[Ints, list[int]] | None:
    """Read lists of digits, parted by single blanks and without blanks around them.

    Returns:
        The numbers of all texts, and how many each has; ``None`` where one of them holds anything else.
    """
    joined = texts[0] if len(texts) == 1 else " ".join([text for text in texts if text])
    if not joined:
        return np.empty(0, np.int64), [0] * len(texts)
    if not joined.isascii() or joined.encode().translate(None, b"0123456789 "):
        return None
    numbers = np.fromstring(joined, dtype=np.int64, sep=" ")
    counts = [numbers.size] if len(texts) == 1 else [text.count(" ") + 1 if text else 0 for text in texts]
    # More blanks than one between two numbers make the counts wrong; numbers beyond 64 bits are clipped.
    return (numbers, counts) if numbers.size == sum(counts) and numbers.max() < _LIMIT else None


def parse_tokens(text: str, *, lenient: bool = False) -> tuple[Ints, list[str]]:
    """Read whole numbers, signed or not, parted by any blanks.

    Args:
        text: The text.
        lenient: Read what can be read: ``12.0`` is 12, commas and brackets are blanks, the rest ends the list.

    Returns:
        The numbers, and what was done about the rest.

    Raises:
        InputError: A token is not a whole number of at most 12 digits; ``where`` counts tokens from 1.
    """
    values: list[int] = []
    done = []
    if lenient and re.search(r"[\[\](),;|]", text):
        text = re.sub(r"[\[\](),;|]", " ", text)
        done.append("took brackets, commas and semicolons for blanks")
    for index, token in enumerate(text.split(), 1):
        if _INTEGER.fullmatch(token):
            values.append(int(token))
        elif not lenient:
            raise InputError(
                f"{token[:40]!r} is not a whole number",
                where=f"token {index}",
                remedy="Run lengths are whole numbers of at most 12 digits, parted by blanks.",
            )
        elif integral := _INTEGRAL.fullmatch(token):
            values.append(int(integral.group(1)))
            done.append(f"token {index}: read {token[:40]!r} as a whole number")
        else:
            done.append(f"token {index}: {token[:40]!r} is not a number; dropped it and all that follows")
            break
    return np.array(values, np.int64), done


def format_lists(values: Ints, counts: Sequence[int]) -> list[str]:
    """Write lists of numbers that are not negative, each with single blanks between them.

    Args:
        values: The numbers of all lists.
        counts: How many each has, at least 1 where there are several lists.
    """
    if len(counts) == 1 and values.size <= _SMALL:
        return [str(values.tolist())[1:-1].replace(",", "")]
    if not values.size:
        return []
    letters, keep = _letters_of(values)
    keep[-1, -1] = False
    if len(counts) == 1:
        return [letters.T[keep.T].tobytes().decode("ascii")]
    letters[-1, np.cumsum(counts) - 1] = ord("\n")
    return letters.T[keep.T].tobytes().decode("ascii").split("\n")


def _letters_of(values: Ints) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Digits of ``V`` numbers that are not negative.

    Returns:
        ``(D + 1, V)`` letters, a column a number with a blank at its end, and which of them are no leading zeros.
    """
    largest = int(values.max())
    digits = len(str(largest))
    # Division of 32-bit numbers is several times faster, and almost every mask is small enough for it.
    rest = values.astype(np.uint32) if largest < 2**32 else values.astype(np.uint64)
    ten = rest.dtype.type(10)
    letters = np.empty((digits + 1, values.size), np.uint8)
    keep = np.ones((digits + 1, values.size), np.bool_)
    for place in range(digits - 1, -1, -1):
        if place < digits - 1:
            np.not_equal(rest, 0, out=keep[place])
        quotient = rest // ten
        letters[place] = rest - quotient * ten
        rest = quotient
    letters[:digits] += ord("0")
    letters[digits] = ord(" ")
    return letters, keep
