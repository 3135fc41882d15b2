"""A sample of a file of unknown dialect: cells that look like run lengths, and what stands beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.formats.rle.cell import Size
from pipeline.formats.rle.columns import HEIGHTS, WIDTHS, is_joined, is_runs
from pipeline.formats.rle.dialects import DIALECTS, READ_ONLY
from pipeline.formats.rle.landmarks import implied_size, landmark_points
from pipeline.formats.rle.numbers import SPREADSHEET_CELL, says_nothing
from pipeline.formats.rle.tables import Table, open_table

_CELLS = 400
_CHARACTERS = 4_000_000
#: Columns that say something of a mask.
_BESIDE = {"height": HEIGHTS, "width": WIDTHS, "landmarks": ("Landmarks",), "area": ("area",)}
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
        class_column: Column of organs, where there is one; it may be that of the ids.
        columns: All columns.
        cut: Row with a cell that is as long as a spreadsheet lets it be, where there is one.
    """

    cells: list[Sample] = field(default_factory=list)
    id_column: str | None = None
    mask_columns: tuple[str, ...] = ()
    class_column: str | None = None
    columns: tuple[str, ...] = ()
    cut: int | None = None


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
        if organs is None and ids is not None and is_joined(table.columns[ids]):
            organs = ids
        names = ids, organs
        every = (one for row, cells in rows for one in _samples(table, row, cells, names, masks, size, sizes))
        found = [one for one in every if not _is_nothing(one.text, empty)]
        cut = [row for row, cells in rows if any(len(cells[index]) == SPREADSHEET_CELL for index in masks)]
        return Sampled(
            found[:_CELLS],
            None if ids is None else table.columns[ids],
            tuple(table.columns[index] for index in masks),
            None if organs is None else table.columns[organs],
            tuple(table.columns),
            cut[0] if cut else None,
        )


def _samples(
    table: Table,
    row: int,
    cells: list[str],
    names: tuple[int | None, int | None],
    masks: list[int],
    size: Size | None,
    sizes: Mapping[str, Size],
) -> Iterator[Sample]:
    """The masks of one row, empty ones among them; ``names`` are the columns of ids and organs."""
    ids, organs = names
    scan_id = cells[ids].strip() if ids is not None else ""
    if ids is not None and ids == organs:
        scan_id = scan_id.rpartition("_")[0] or scan_id
    at = {name: table.column(known) for name, known in _BESIDE.items()}
    value = {name: "" if index is None else cells[index].strip() for name, index in at.items()}
    texts = [cells[index].strip() for index in masks]
    points = tuple(map(tuple, landmark_points(value["landmarks"]).tolist()))
    height, width = _whole(value["height"]), _whole(value["width"])
    given = (height, width) if height and width else sizes.get(scan_id, size)
    if given is None and points:
        height, width = implied_size([text for text in texts if is_runs(text)], value["landmarks"])
        # Without a height the landmarks still say how far the masks reach.
        given = None if width is None else (height or _reach(texts) // width + 1, width)
    area = float(value["area"]) if re.fullmatch(r"[0-9]+(\.[0-9]*)?", value["area"]) else None
    for text in texts:
        yield Sample(row, scan_id, text, given, points, area if len(masks) == 1 else None)


def _reach(texts: list[str]) -> int:
    """Where the last of the masks ends, in pixels by rows."""
    return max(sum(map(int, re.findall("[0-9]+", text)[-2:])) for text in texts if is_runs(text))


def _is_nothing(text: str, empty: set[str]) -> bool:
    return says_nothing(text) or text in empty


def _of_all(what: str) -> tuple[str, ...]:
    """What any dialect of the table says of its files: names of columns, or cells without a pixel."""
    return tuple(dict.fromkeys(text for dialect in (DIALECTS | READ_ONLY).values() for text in getattr(dialect, what)))


def _mask_columns(table: Table, rows: list[tuple[int, list[str]]], empty: set[str]) -> list[int]:
    """Columns whose filled cells are mostly lists of two or more whole numbers."""
    found = []
    for index, name in enumerate(table.columns):
        if name.strip().lower() in _OTHERS:
            continue
        filled = [text for _, cells in rows if not _is_nothing(text := cells[index].strip(), empty)]
        listed = sum(map(is_runs, filled))
        if filled and listed >= 0.8 * len(filled):
            found.append(index)
    return found


def _whole(text: str) -> int | None:
    return int(float(text)) if re.fullmatch(r"[0-9]{1,9}(\.0*)?", text) else None
