"""Lines of delimited text ↔ cells, by splitting where no quote stands in the way and by the csv module elsewhere.

Cells of masks are long, and the csv module looks at each of their letters in turn: splitting is several times faster.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from pipeline.core.errors import InputError

#: Long cells are the rule here: a mask of noise of 4096² is 80 MB of text.
_LONGEST_CELL = min(sys.maxsize, 2**31 - 1)

#: Number (from 1, empty ones counted), first byte, bytes, and cells (none where it is empty).
Record = tuple[int, int, int, list[str]]


def read_records(path: str | Path, lines: Iterable[bytes], delimiter: str) -> Iterator[Record]:
    """Cut lines into records; a record goes on over several lines inside quotes.

    Args:
        path: The file, for messages.
        lines: Lines with their ends, the header first; a byte order mark is dropped.
        delimiter: What parts cells.

    Yields:
        Record after record.

    Raises:
        InputError: The text is not UTF-8 or ends inside quotes.
    """
    # The limit is one for the whole process, and a cell beyond it is an error: it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    stream = iter(lines)
    offset = 0
    for number, line in enumerate(stream, 1):
        try:
            taken = len(line)
            if number == 1 and line.startswith(b"\xef\xbb\xbf"):
                line = line[3:]
            cells = split(line, delimiter)
            if cells is None:
                rest = _Counted(stream)
                cells = next(csv.reader(chain([line.decode("utf-8")], rest), delimiter=delimiter), [])
                taken += rest.taken
                if rest.ended:
                    raise InputError(
                        "ends inside quotes", where=f"{path}, row {number}", remedy="The file was cut short."
                    )
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"is not readable as a table ({error})", where=f"{path}, row {number}") from None
        yield number, offset, taken, cells
        offset += taken


class _Counted:
    """Further lines of one record as text: how many bytes they took, and whether there were too few."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self.taken = 0
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines, None)
        if line is None:
            self.ended = True
            raise StopIteration
        self.taken += len(line)
        return line.decode("utf-8")


def delimiter_of(header: bytes) -> str:
    """The commonest of comma, semicolon and tab in a header."""
    return max(",;\t", key=lambda letter: header.count(letter.encode()))


def split(line: bytes, delimiter: str) -> list[str] | None:
    r"""Cells of one line with or without its end, as the csv module gives them.

    Returns:
        ``None`` where the csv module has to look: quotes in odd places, doubled or left open, or a lone ``\r``.

    Raises:
        UnicodeDecodeError: The line is not UTF-8.
    """
    line = line.removesuffix(b"\n").removesuffix(b"\r")
    if b"\r" in line or b"\n" in line:
        return None
    text = line.decode("utf-8")
    if '"' in text:
        return _split_quoted(text, delimiter)
    return text.split(delimiter) if text else []


def _split_quoted(text: str, delimiter: str) -> list[str] | None:
    parts = text.split('"')
    last = len(parts) - 1
    if last % 2:
        return None
    cells: list[str] = []
    for place, part in enumerate(parts):
        if place % 2:
            cells.append(part)
            continue
        # What stands between two quoted cells begins and ends with a delimiter, and may be one delimiter alone.
        if place == 0 or place == last:
            if part:
                inner = part.removesuffix(delimiter) if place == 0 else part.removeprefix(delimiter)
                if len(inner) == len(part):
                    return None
                cells += inner.split(delimiter)
        elif part != delimiter:
            if len(part) < 2 or not (part.startswith(delimiter) and part.endswith(delimiter)):
                return None
            cells += part[1:-1].split(delimiter)
    return cells


def join(rows: Iterable[Sequence[object]]) -> str:
    """Rows as comma-separated lines, each ended by a line feed; ``None`` is an empty cell."""
    lines = []
    for cells in rows:
        texts = ["" if cell is None else cell if isinstance(cell, str) else str(cell) for cell in cells]
        line = ",".join(texts)
        if line.count(",") != len(texts) - 1 or '"' in line or "\n" in line or "\r" in line or not line:
            buffer = io.StringIO()
            quoting = csv.QUOTE_ALL if "\r" in line else csv.QUOTE_MINIMAL
            csv.writer(buffer, lineterminator="\n", quoting=quoting).writerow(texts)  # type: ignore[arg-type]
            lines.append(buffer.getvalue())
        else:
            lines.append(line + "\n")
    return "".join(lines)
