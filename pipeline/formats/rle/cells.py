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
from pipeline.formats.rle.cell import UNNAMED, Cell
from pipeline.formats.rle.coco_json import candidate_fault, coco_cell, read_coco
from pipeline.formats.rle.columns import HEIGHTS, WIDTHS, is_chexmask, long_columns
from pipeline.formats.rle.cvat import read_cvat
from pipeline.formats.rle.dialects import DIALECTS, Dialect, dialect_named
from pipeline.formats.rle.json_text import holds_object
from pipeline.formats.rle.labelstudio import read_labelstudio
from pipeline.formats.rle.landmarks import implied_size
from pipeline.formats.rle.runs import Order
from pipeline.formats.rle.tables import Table, head_of, open_table

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

#: Layouts that are no tables, or need not be.
DOCUMENTS: dict[str, Callable[[str | Path], Iterator[Cell]]] = {
    "coco": read_coco,
    "labelstudio": read_labelstudio,
    "cvat": read_cvat,
}

#: As much of a document as is looked at to tell its kind, and words that no file of COCO's has.
_HEAD = 1 << 20
_LABELSTUDIO = re.compile(rb'"(result|completions|original_width|was_cancelled|completed_by|[a-z]+labels)"\s*:')


def declared_dialect(path: str | Path) -> Dialect | None:
    """The dialect that a file itself names, by its form or its columns; ``None`` for others."""
    named = document_dialect(path)
    if named is not None:
        return named
    with open_table(path) as table:
        if {"dialect", "rle", "order", "base"} <= set(table.columns):
            return DIALECTS["organseg"]
        if is_chexmask(table.columns):
            return DIALECTS["chexmask"]
        for *_, cells in islice(table.records, 20):
            if any(holds_object(text) for text in cells):
                return DIALECTS["coco"]
    return None


def document_dialect(path: str | Path) -> Dialect | None:
    """The dialect of a file that is no table: COCO's or Label Studio's JSON, or CVAT's XML; ``None`` for tables."""
    head = head_of(path, _HEAD)
    if head.startswith(b"<"):
        return dialect_named("cvat")
    if head.startswith(b"[") and _LABELSTUDIO.search(head):
        return dialect_named("labelstudio")
    return DIALECTS["coco"] if head.startswith((b"{", b"[")) else None


def known_dialect(path: str | Path, dialect: str | Dialect | None) -> Dialect:
    """The dialect that is given, else the one that the file itself names.

    Raises:
        InputError: Neither; a dialect is never guessed here.
    """
    found = declared_dialect(path) if dialect is None else dialect_named(dialect)
    if found is None:
        raise InputError(
            "does not name its RLE dialect",
            where=str(path),
            remedy="Name it; `organseg rle detect` weighs the evidence, `organseg rle dialects` lists them.",
        )
    return found


def read_cells(
    path: str | Path,
    dialect: Dialect,
    *,
    columns: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Iterator[Cell]:
    """Stream the masks of a file, in its order.

    Args:
        path: CSV, Parquet or (COCO) JSON, gzipped or not.
        dialect: How to read it.
        columns: In the wide layout, the columns that hold masks; by default all that are not known to hold
            something else.
        progress: Called now and then with the share of the file that was read.

    Raises:
        InputError: The file is not readable, or lacks a column that the dialect needs.
    """
    # COCO's objects stand in cells of tables too.
    if dialect.layout in DOCUMENTS and (dialect.layout != "coco" or document_dialect(path) is not None):
        yield from DOCUMENTS[dialect.layout](path)
        return
    with open_table(path) as table:
        for count, cell in enumerate(cells_of(table, dialect, columns)):
            if progress is not None and count % 256 == 0:
                progress(table.done())
            yield cell
        if progress is not None:
            progress(1.0)


def cells_of(table: Table, dialect: Dialect, columns: Sequence[str] | None = None) -> Iterator[Cell]:
    """The masks in the rows of an open table; arguments and errors are those of :func:`read_cells`."""
    if dialect.layout == "organseg":
        return _organseg(table)
    if dialect.layout == "wide":
        return _wide(table, dialect, columns)
    cells = _long(table, dialect)
    return (coco_cell(cell, cell.text) for cell in cells) if dialect.layout == "coco" else cells


def _long(table: Table, dialect: Dialect) -> Iterator[Cell]:
    found = long_columns(table, dialect)
    sizes = _size_columns(table)
    scores = table.column(("score", "confidence"))
    masks, column, names = found.masks, table.columns[found.masks], found.names
    for row, _, _, cells in table.records:
        height, width = (_size(table, row, cells, at) for at in sizes)
        try:
            scan_id, organ = names(cells)
        except InputError as error:
            raise InputError(error.what, where=f"{table.path}, row {row}") from None
        cell = Cell(row, column, scan_id, organ or UNNAMED, cells[masks], height, width, dialect)
        if scores is not None:
            cell.fault = candidate_fault(cells[scores])
        yield cell


def _wide(table: Table, dialect: Dialect, chosen: Sequence[str] | None) -> Iterator[Cell]:
    ids = table.needed(dialect.id_columns, "ids")
    sizes = _size_columns(table)
    if chosen:
        organs = [table.needed([name], "masks") for name in chosen]
    else:
        others = {ids, *sizes}
        organs = [
            index
            for index, name in enumerate(table.columns)
            if index not in others and name and name not in dialect.other_columns
        ]
    if not organs:
        raise InputError("has no column of masks", where=str(table.path), remedy=f"It has {', '.join(table.columns)}.")
    landmarks = table.column(("Landmarks",))
    for row, _, _, cells in table.records:
        height, width = (_size(table, row, cells, at) for at in sizes)
        if landmarks is not None and height is None and width is None:
            height, width = implied_size([cells[index] for index in organs], cells[landmarks])
        scan_id = cells[ids].strip()
        for index in organs:
            yield Cell(row, table.columns[index], scan_id, table.columns[index], cells[index], height, width, dialect)


def _size_columns(table: Table) -> tuple[int | None, int | None]:
    return table.column(HEIGHTS), table.column(WIDTHS)


def _size(table: Table, row: int, cells: list[str], at: int | None) -> int | None:
    """A side of a picture, from ``1024`` or ``1024.0``; ``None`` where there is no such column or its cell is blank."""
    if at is None:
        return None
    try:
        return _whole(table.columns[at], cells[at])
    except InputError as error:
        raise InputError(error.what, where=f"{table.path}, row {row}, column {error.where!r}") from None


@lru_cache(maxsize=4096)
def _whole(column: str, text: str) -> int | None:
    """The number in ``1024`` or ``1024.0``, ``None`` from a blank cell; a file has few sizes and many rows.

    Raises:
        InputError: It is neither; ``where`` is the column.
    """
    text = text.strip()
    if not text or text.lower() == "nan":
        return None
    if not re.fullmatch(r"[0-9]{1,9}(\.0*)?", text):
        raise InputError(f"{text[:40]!r} is not a whole number", where=column)
    return int(text.split(".")[0])


def _organseg(table: Table) -> Iterator[Cell]:
    pick = itemgetter(*(table.needed([name], name) for name in ORGANSEG_COLUMNS))
    for row, _, _, cells in table.records:
        scan_id, organ, axis, place, *head, spacing, unit, affine, text, check, name = map(str.strip, pick(cells))
        try:
            dialect, depth, height, width = _head(axis, name, *head)
            index = _stated("slice", place)
        except InputError as error:
            raise InputError(error.what, where=f"{table.path}, row {row}, column {error.where!r}") from None
        if index >= depth:
            raise InputError(f"slice {index} lies outside a depth of {depth}", where=f"{table.path}, row {row}")
        extra = {"spacing": spacing, "unit": unit, "affine": affine, "checksum": check}
        yield Cell(row, "rle", scan_id, organ, text, height, width, dialect, axis, index, depth, extra=extra)


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
    sides = _stated("depth", depth), _stated("height", height), _stated("width", width)
    return _variant("row" if order == "row" else "column", int(base)), *sides


@lru_cache(maxsize=4)
def _variant(order: Order, base: int) -> Dialect:
    """Our dialect as a row has it: one object for all such rows, by which readers tell that they go together."""
    return replace(DIALECTS["organseg"], order=order, base=base)


def _stated(column: str, text: str) -> int:
    value = _whole(column, text)
    if value is None:
        raise InputError("is blank", where=column)
    return value
