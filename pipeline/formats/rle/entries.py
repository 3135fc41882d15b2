"""Cells → entries, with a list of what was repaired and where."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.formats.rle.batch import read_texts
from pipeline.formats.rle.cell import Cell, Size
from pipeline.formats.rle.runs import Runs
from pipeline.formats.rle.volume import Entry, checksums

Report = Callable[[str], None]

#: Cells and characters that are decoded at once.
_CELLS = 512
_CHARACTERS = 500_000


def silent(_: str) -> None:
    """Take a line and say nothing."""


class EntryReader:
    """Decodes the cells of one file.

    Args:
        path: The file, for messages.
        size: ``(height, width)`` of pictures whose size the file does not say.
        sizes: Sizes by image id, which win over ``size``.
        lenient: Repair what can be repaired.
        report: Takes one line for each repair, with file, row and column.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        size: Size | None = None,
        sizes: Mapping[str, Size] | None = None,
        lenient: bool = False,
        report: Report = silent,
    ) -> None:
        self._path = path
        self._size = size
        self._sizes = sizes or {}
        self._lenient = lenient
        self._report = report
        self._last: Size | None = None

    def entries(self, cells: Iterable[Cell]) -> Iterator[tuple[Cell, Entry]]:
        """Decode cells one after the other, many at a time.

        Raises:
            InputError: As :meth:`read`, after all cells before the wrong one were given.
        """
        for group in _groups(cells):
            together = self._together(group)
            if together is None:
                for cell in group:
                    yield cell, self.read(cell)
            else:
                yield from zip(group, together, strict=True)

    def read(self, cell: Cell) -> Entry:
        """Decode one cell, and compare it with its checksum where it has one.

        Raises:
            InputError: It cannot be decoded, or not without repairs and none are asked for; or its checksum is that
                of another mask.
        """
        size = self._sizes.get(cell.scan_id, self._size)
        if cell.height is not None and cell.width is not None:
            self._last = (cell.height, cell.width)
        elif size is None and cell.dialect.size is None and self._lenient and self._last is not None:
            size = self._last
            self._report(f"{cell.where(self._path)}: took the size of the rows before, {size[0]}×{size[1]}")
        runs, repairs = cell.runs(self._path, size, lenient=self._lenient)
        for repair in repairs:
            self._report(f"{cell.where(self._path)}: {repair}")
        entry = self._entry(cell, runs)
        given = cell.extra.get("checksum", "")
        if given and given != (found := checksums([entry])[0]):
            error = unlike_checksum(cell, found, self._path)
            if not self._lenient:
                raise error
            self._report(f"{error.where}: {error.what}; kept the mask")
        return entry

    def _together(self, group: list[Cell]) -> list[Entry] | None:
        """Decode cells of one dialect at once, or none of them where one would be refused or repaired."""
        heights, widths = [], []
        for cell in group:
            height, width = cell.height, cell.width
            if height is None or width is None:
                size = self._sizes.get(cell.scan_id, self._size) or cell.dialect.size
                if size is None:
                    return None
                height, width = size
            by_rows = cell.dialect.order == "row"
            tall = cell.depth if cell.axis == "volume" else 1
            heights.append(height * tall if by_rows else height)
            widths.append(width if by_rows else width * tall)
        sheaf = read_texts([cell.text for cell in group], heights, widths, group[0].dialect)
        if sheaf is None:
            return None
        try:
            entries = [self._entry(cell, runs) for cell, runs in zip(group, sheaf.pictures(), strict=True)]
        except InputError:
            # Cells before this one may be wrong in other ways: the first is found one by one.
            return None
        given = [cell.extra.get("checksum", "") for cell in group]
        if any(given):
            found = checksums(entries)
            if any(one and one != other for one, other in zip(given, found, strict=True)):
                return None
        sized = [cell for cell in group if cell.height is not None and cell.width is not None]
        if sized:
            self._last = (sized[-1].height, sized[-1].width)  # type: ignore[assignment]
        return entries

    def _entry(self, cell: Cell, runs: Runs) -> Entry:
        if not cell.extra:
            return Entry(cell.scan_id, cell.organ, runs, cell.axis, cell.index, cell.depth)
        return Entry(
            cell.scan_id,
            cell.organ,
            runs,
            cell.axis,
            cell.index,
            cell.depth,
            self._spacing(cell),
            cell.extra.get("unit", ""),
            self._affine(cell),
        )

    def _spacing(self, cell: Cell) -> tuple[float, float, float] | None:
        steps = self._numbers(cell, "spacing", 3)
        return None if steps is None else (steps[0], steps[1], steps[2])

    def _affine(self, cell: Cell) -> NDArray[np.float64] | None:
        values = self._numbers(cell, "affine", 12)
        return None if values is None else _matrix(values)

    def _numbers(self, cell: Cell, name: str, count: int) -> tuple[float, ...] | None:
        text = cell.extra.get(name, "")
        if not text:
            return None
        values = _finite(text)
        if len(values) != count:
            raise InputError(
                f"{text[:40]!r} is not {count} numbers", where=f"{self._path}, row {cell.row}, column {name!r}"
            )
        return values


def unlike_checksum(cell: Cell, found: str, path: str | Path) -> InputError:
    """The error of a mask that is not the one its row was written with."""
    return InputError(
        f"the mask's checksum is {found}, the row says {cell.extra.get('checksum', '')[:40]}",
        where=f"{path}, row {cell.row}, column 'checksum'",
        remedy="The row was changed after it was written.",
    )


def _groups(cells: Iterable[Cell]) -> Iterator[list[Cell]]:
    """Cells of one dialect that follow each other, a few hundred at a time."""
    group: list[Cell] = []
    characters = 0
    stream = iter(cells)
    while True:
        try:
            cell = next(stream, None)
        except InputError:
            # What is wrong further down must not hide what is wrong here.
            if group:
                yield group
            raise
        full = len(group) >= _CELLS or characters > _CHARACTERS
        if group and (cell is None or full or cell.dialect is not group[0].dialect):
            yield group
            group, characters = [], 0
        if cell is None:
            return
        group.append(cell)
        characters += len(cell.text)


@lru_cache(maxsize=64)
def _matrix(values: tuple[float, ...]) -> NDArray[np.float64]:
    """A 4×4 affine, one for all rows of a scan."""
    matrix = np.array((*values, 0.0, 0.0, 0.0, 1.0)).reshape(4, 4)
    matrix.flags.writeable = False
    return matrix


@lru_cache(maxsize=1024)
def _finite(text: str) -> tuple[float, ...]:
    """The numbers of a text, none where one is no number or not finite; the rows of one scan have the same."""
    try:
        values = tuple(float(part) for part in text.split())
    except ValueError:
        return ()
    return values if all(map(math.isfinite, values)) else ()
