"""Rows of a file → cells: one mask each, with its image, organ, size and place in the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from operator import itemgetter
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.formats.rle.cell import UNNAMED, Cell, coco_cell
from pipeline.formats.rle.coco_json import read_coco
from pipeline.formats.rle.dialects import CLASSES, DIALECTS, Dialect
from pipeline.formats.rle.runs import Order
from pipeline.formats.rle.tables import Table, open_table, starts_like_json

#: The columns of our own dialect, in order. ``docs`` of each stand in :mod:`pipeline.formats.rle.volume`.
ORGANSEG_COLUMNS = (
    "scan_id",
    "organ",
    "axis",
    "slice",
    "depth",
    "height",
    "width",
    "order",
    "base",
    "spacing",
    "unit",
    "affine",
    "rle",
    "checksum",
    "dialect",
)

Progress = Callable[[float], None]


def declared_dialect(path: str | Path) -> Dialect | None:
    """The dialect that a file itself names: ours by its columns, COCO by its JSON; ``None`` for others."""
    if starts_like_json(path):
        return DIALECTS["coco"]
    with open_table(path) as table:
        if {"dialect", "rle", "order", "base"} <= set(table.columns):
            return DIALECTS["organseg"]
        for _, cells in islice(table.rows, 20):
            if any(text.lstrip().startswith("{") and '"counts"' in text for text in cells):
                return DIALECTS["coco"]
    return None


def read_cells(
    path: str | Path,
    dialect: Dialect,
    *,
    organ_columns: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Iterator[Cell]:
    """Stream the masks of a file, in its order.

    Args:
        path: CSV, Parquet or (COCO) JSON, gzipped or not.
        dialect: How to read it.
        organ_columns: In the wide layout, the columns that hold masks; by default all that are not known to hold
            something else.
        progress: Called now and then with the share of the file that was read.

    Raises:
        InputError: The file is not readable, or lacks a column that the dialect needs.
    """
    if dialect.layout == "coco" and starts_like_json(path):
        yield from read_coco(path)
        return
    with open_table(path) as table:
        for count, cell in enumerate(cells_of(path, table, dialect, organ_columns)):
            if progress is not None and count % 256 == 0:
                progress(table.done())
            yield cell
        if progress is not None:
            progress(1.0)


def cells_of(
    path: str | Path, table: Table, dialect: Dialect, organ_columns: Sequence[str] | None = None
) -> Iterator[Cell]:
    """The masks in the rows of an open table; arguments and errors are those of :func:`read_cells`."""
    layout = {"long": _long, "wide": _wide, "coco": _coco, "organseg": _organseg}[dialect.layout]
    return layout(path, table, dialect, organ_columns)


def column_of(table: Table, names: Sequence[str]) -> int | None:
    """Index of the first of these columns that the table has; then without regard to case and blanks."""
    for name in names:
        if name in table.columns:
            return table.columns.index(name)
    plain = [re.sub(r"[\s_]", "", name).lower() for name in table.columns]
    for name in names:
        key = re.sub(r"[\s_]", "", name).lower()
        if key in plain:
            return plain.index(key)
    return None


def _needed(path: str | Path, table: Table, names: Sequence[str], what: str) -> int:
    index = column_of(table, names)
    if index is None:
        raise InputError(
            f"has no column of {what}: {', '.join(names[:6])}",
            where=str(path),
            remedy=f"Its columns are {', '.join(table.columns)}; the dialect may be another one.",
        )
    return index


def _number(path: str | Path, row: int, column: str, text: str) -> int | None:
    """A whole number that is not negative, from ``1024`` or ``1024.0``; ``None`` from a blank cell."""
    value = _whole(text)
    if value is not None and value < 0:
        raise InputError(f"{text[:40]!r} is not a whole number", where=f"{path}, row {row}, column {column!r}")
    return value


@lru_cache(maxsize=4096)
def _whole(text: str) -> int | None:
    """The number, ``None`` from a blank cell, −1 from what is no number; a file has few sizes and many rows."""
    text = text.strip()
    if not text or text.lower() == "nan":
        return None
    return int(text.split(".")[0]) if re.fullmatch(r"[0-9]{1,9}(\.0*)?", text) else -1


def _long(path: str | Path, table: Table, dialect: Dialect, _: Sequence[str] | None) -> Iterator[Cell]:
    ids = _needed(path, table, dialect.id_columns, "ids")
    masks = _needed(path, table, dialect.mask_columns, "masks")
    organs = column_of(table, dialect.class_columns or CLASSES)
    sizes = _size_columns(table)
    name = table.columns[masks]
    for row, cells in table.rows:
        height, width = _sizes(path, table, row, cells, sizes)
        organ = (cells[organs].strip() if organs is not None else "") or UNNAMED
        yield Cell(row, name, cells[ids].strip(), organ, cells[masks], height, width, dialect)


def _wide(path: str | Path, table: Table, dialect: Dialect, chosen: Sequence[str] | None) -> Iterator[Cell]:
    ids = _needed(path, table, dialect.id_columns, "ids")
    sizes = _size_columns(table)
    if chosen:
        organs = [_needed(path, table, [name], "masks") for name in chosen]
    else:
        others = {ids, *(i for i in sizes if i is not None)}
        organs = [
            index
            for index, name in enumerate(table.columns)
            if index not in others and name and name not in dialect.other_columns
        ]
    if not organs:
        raise InputError("has no column of masks", where=str(path), remedy=f"It has {', '.join(table.columns)}.")
    for row, cells in table.rows:
        height, width = _sizes(path, table, row, cells, sizes)
        scan_id = cells[ids].strip()
        for index in organs:
            yield Cell(row, table.columns[index], scan_id, table.columns[index], cells[index], height, width, dialect)


def _size_columns(table: Table) -> tuple[int | None, int | None]:
    return column_of(table, ("Height", "img_height", "rows")), column_of(table, ("Width", "img_width", "cols"))


def _sizes(
    path: str | Path, table: Table, row: int, cells: list[str], at: tuple[int | None, int | None]
) -> tuple[int | None, int | None]:
    height, width = (None if index is None else _number(path, row, table.columns[index], cells[index]) for index in at)
    return height, width


def _coco(path: str | Path, table: Table, dialect: Dialect, _: Sequence[str] | None) -> Iterator[Cell]:
    for cell in _long(path, table, dialect, None):
        yield coco_cell(cell, cell.text, path)


@lru_cache(maxsize=64)
def _variant(order: Order, base: int) -> Dialect:
    return replace(DIALECTS["organseg"], order=order, base=base)


def _organseg(path: str | Path, table: Table, _: Dialect, __: Sequence[str] | None) -> Iterator[Cell]:
    pick = itemgetter(*(_needed(path, table, [name], name) for name in ORGANSEG_COLUMNS))
    for row, cells in table.rows:
        scan_id, organ, axis, place, *head, spacing, unit, affine, text, check, name = map(str.strip, pick(cells))
        try:
            dialect, tall, rows, columns = _head(axis, name, *head)
            index = _stated("slice", place)
        except InputError as error:
            raise InputError(error.what, where=f"{path}, row {row}, column {error.where!r}") from None
        if index >= tall:
            raise InputError(f"slice {index} lies outside a depth of {tall}", where=f"{path}, row {row}")
        extra = {"spacing": spacing, "unit": unit, "affine": affine, "checksum": check}
        yield Cell(row, "rle", scan_id, organ, text, rows, columns, dialect, axis, index, tall, extra)


@lru_cache(maxsize=1024)
def _head(
    axis: str, name: str, depth: str, height: str, width: str, order: str, base: str
) -> tuple[Dialect, int, int, int]:
    """Dialect, depth, height and width of a row; those of one scan have the same.

    Raises:
        InputError: A cell is wrong; ``where`` names its column.
    """
    for column, value, known in (
        ("dialect", name, ("organseg",)),
        ("order", order, ("row", "column")),
        ("base", base, ("0", "1")),
        ("axis", axis, ("x", "y", "z", "volume")),
    ):
        if value not in known:
            raise InputError(f"{value[:40]!r} is none of {', '.join(known)}", where=column)
    sizes = [_stated(column, text) for column, text in (("depth", depth), ("height", height), ("width", width))]
    return _variant("row" if order == "row" else "column", int(base)), sizes[0], sizes[1], sizes[2]


def _stated(column: str, text: str) -> int:
    value = _whole(text)
    if value is None:
        raise InputError("is blank", where=column)
    if value < 0:
        raise InputError(f"{text[:40]!r} is not a whole number", where=column)
    return value
