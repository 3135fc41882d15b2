"""Cells → entries, with a list of what was repaired and where."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.formats.rle.cell import Cell, Size
from pipeline.formats.rle.volume import Entry

Report = Callable[[str], None]


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

    def read(self, cell: Cell) -> Entry:
        """Decode one cell.

        Raises:
            InputError: It cannot be decoded, or not without repairs and none are asked for.
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
        return None if values is None else np.array((*values, 0.0, 0.0, 0.0, 1.0)).reshape(4, 4)

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


@lru_cache(maxsize=1024)
def _finite(text: str) -> tuple[float, ...]:
    """The numbers of a text, none where one is no number or not finite; the rows of one scan have the same."""
    try:
        values = tuple(float(part) for part in text.split())
    except ValueError:
        return ()
    return values if all(map(math.isfinite, values)) else ()
