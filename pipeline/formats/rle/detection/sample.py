"""A sample of a file of unknown dialect: cells that look like run lengths, and what stands beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.formats.rle.cell import Size
from pipeline.formats.rle.dialects import DIALECTS
from pipeline.formats.rle.tables import Table, open_table

_CELLS = 400
_CHARACTERS = 4_000_000
_NUMBERS = re.compile(r"\[?-?[0-9]+(,? +-?[0-9]+|,-?[0-9]+)+\]?")
_OTHERS = {"landmarks", "bbox", "height", "width", "area"}


@dataclass(frozen=True)
class Sample:
    """One cell with its surroundings.

    Attributes:
        row: Row of the file; the header is row 1.
        scan_id: Image.
        text: The cell.
        size: ``(height, width)``, where known.
        landmarks: ``(x, y)`` of points on outlines of this row's masks, in pixels.
        area: Pixels that the row says the mask has.
    """

    row: int
    scan_id: str
    text: str
    size: Size | None
    landmarks: tuple[tuple[float, float], ...] = ()
    area: float | None = None


@dataclass(frozen=True)
class Sampled:
    """What was read of a file.

    Attributes:
        cells: The sample, empty masks left out.
        id_column: Column of ids, where one goes by a known name.
        mask_columns: Columns that hold masks.
        class_column: Column of organs, where there is one.
    """

    cells: list[Sample] = field(default_factory=list)
    id_column: str | None = None
    mask_columns: tuple[str, ...] = ()
    class_column: str | None = None


def take_sample(path: str | Path, size: Size | None, sizes: Mapping[str, Size]) -> Sampled:
    """Read the first few hundred masks of a table.

    Args:
        path: The file.
        size: Size of pictures of which the file does not say it.
        sizes: Sizes by image id.

    Raises:
        InputError: The file is not a table.
    """
    with open_table(path) as table:
        rows = []
        characters = 0
        for row, _, _, cells in table.records:
            rows.append((row, cells))
            characters += sum(map(len, cells))
            if len(rows) >= _CELLS or characters > _CHARACTERS:
                break
        empty = {"", *_of_all("empty")}
        masks = _mask_columns(table, rows, empty)
        ids = table.column(_of_all("id_columns"))
        organs = table.column(_of_all("class_columns"))
        place = {name: table.column((name,)) for name in ("Height", "Width", "Landmarks", "area")}
        found = []
        for row, cells in rows:
            scan_id = cells[ids].strip() if ids is not None else ""
            value = {name: "" if at is None else cells[at].strip() for name, at in place.items()}
            height, width = _whole(value["Height"]), _whole(value["Width"])
            given = (height, width) if height and width else sizes.get(scan_id, size)
            points = _points(value["Landmarks"])
            area = float(value["area"]) if re.fullmatch(r"[0-9]+(\.[0-9]*)?", value["area"]) else None
            for index in masks:
                text = cells[index].strip()
                if text not in empty:
                    found.append(Sample(row, scan_id, text, given, points, area if len(masks) == 1 else None))
        return Sampled(
            found[:_CELLS],
            None if ids is None else table.columns[ids],
            tuple(table.columns[index] for index in masks),
            None if organs is None else table.columns[organs],
        )


def _of_all(what: str) -> tuple[str, ...]:
    """What any dialect of the table says of its files: names of columns, or cells without a pixel."""
    return tuple(dict.fromkeys(text for dialect in DIALECTS.values() for text in getattr(dialect, what)))


def _mask_columns(table: Table, rows: list[tuple[int, list[str]]], empty: set[str]) -> list[int]:
    """Columns whose filled cells are mostly lists of two or more whole numbers."""
    found = []
    for index, name in enumerate(table.columns):
        if name.strip().lower() in _OTHERS:
            continue
        filled = [text for _, cells in rows if (text := cells[index].strip()) not in empty]
        listed = sum(bool(_NUMBERS.fullmatch(text)) for text in filled)
        if filled and listed >= 0.8 * len(filled):
            found.append(index)
    return found


def _whole(text: str) -> int | None:
    return int(float(text)) if re.fullmatch(r"[0-9]{1,9}(\.0*)?", text) else None


def _points(text: str) -> tuple[tuple[float, float], ...]:
    numbers = [float(number) for number in re.findall(r"-?[0-9]+(?:\.[0-9]+)?", text)]
    return tuple(zip(numbers[0::2], numbers[1::2], strict=False)) if len(numbers) % 2 == 0 else ()
