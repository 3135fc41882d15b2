"""Which columns of a table hold ids, organs and runs: by their names, and by their cells where names are not enough."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from pipeline.core.errors import InputError
from pipeline.formats.rle.dialects import CLASSES, DIALECTS, Dialect
from pipeline.formats.rle.tables import Table

HEIGHTS = ("Height", "img_height", "image_height", "rows")
WIDTHS = ("Width", "img_width", "image_width", "cols")
#: ``ImageId_ClassId``, ``Image_Label``: an id and an organ in one cell, joined by the last underscore.
_JOINED = re.compile(r"(image|img|file|filename|id|imageid)_(label|class|classid|category|organ)", re.IGNORECASE)
#: What pictures are counted by, where a number alone does not tell them apart.
_SERIES = ("subject", "patient", "patient_id", "case", "case_id", "study", "study_id")
_COUNTED = re.compile(r"img|image|slice|frame|image_?number|slice_?number", re.IGNORECASE)
#: A list of run lengths, with brackets and commas or without.
_NUMBERS = re.compile(r"\s*\[?-?[0-9]+(,? +-?[0-9]+|,-?[0-9]+)+\]?\s*")
_CHEXMASKS = set(DIALECTS["chexmask"].mask_columns)
_LOOKED_AT = 50


@dataclass(frozen=True)
class LongColumns:
    """The columns of a table with a row an object.

    Attributes:
        masks: Index of the column of runs.
        names: Row → image and organ; the organ is empty where the table names none.
    """

    masks: int
    names: Callable[[Sequence[str]], tuple[str, str]]


def is_runs(text: str) -> bool:
    """Whether a cell is a list of two or more whole numbers."""
    return bool(_NUMBERS.fullmatch(text))


def is_joined(column: str) -> bool:
    """Whether a column holds image and organ in one cell."""
    return bool(_JOINED.fullmatch(column))


def is_chexmask(columns: Sequence[str]) -> bool:
    """Whether columns are those of CheXmask, which nobody else's table has."""
    return {"Dice RCA (Mean)", "Landmarks"} <= set(columns) and bool(_CHEXMASKS & set(columns))


def long_columns(table: Table, dialect: Dialect) -> LongColumns:
    """Find the columns of a long table.

    Raises:
        InputError: A column is missing, or the runs may be in two of them.
    """
    ids = table.needed(dialect.id_columns, "ids")
    masks = mask_column(table, dialect)
    organs = table.column(dialect.class_columns or CLASSES)
    if is_joined(table.columns[ids]) and organs is None:
        return LongColumns(masks, _joined(table, ids))
    series = table.column(_SERIES)
    if series is not None and _COUNTED.fullmatch(table.columns[ids]):
        return LongColumns(masks, _counted(ids, series, organs))
    if organs is None:
        return LongColumns(masks, lambda cells: (cells[ids].strip(), ""))
    return LongColumns(masks, lambda cells: (cells[ids].strip(), cells[organs].strip()))


def id_of(table: Table, dialect: Dialect) -> Callable[[Sequence[str]], str]:
    """Row → image, in any layout of a table.

    Raises:
        InputError: As :func:`long_columns`.
    """
    if dialect.layout == "long":
        names = long_columns(table, dialect).names
        return lambda cells: names(cells)[0]
    ids = table.needed(dialect.id_columns, "ids")
    return lambda cells: cells[ids].strip()


def mask_column(table: Table, dialect: Dialect) -> int:
    """Index of the column of runs: where several go by such a name, the one whose cells are runs.

    Raises:
        InputError: There is none, or two hold runs.
    """
    found = table.columns_of(dialect.mask_columns)
    if len(found) < 2:
        return table.needed(dialect.mask_columns, "masks")
    first = list(islice(table.records, _LOOKED_AT))
    table.records = chain(first, table.records)
    filled = [index for index in found if any(is_runs(cells[index]) for *_, cells in first)]
    if len(filled) > 1:
        names = " and ".join(repr(table.columns[index]) for index in filled)
        raise InputError(
            f"holds run lengths in {names}, and only one of them is the mask",
            where=str(table.path),
            remedy="Leave the other one out of the table.",
        )
    return filled[0] if filled else found[0]


def _joined(table: Table, ids: int) -> Callable[[Sequence[str]], tuple[str, str]]:
    column = table.columns[ids]

    def names(cells: Sequence[str]) -> tuple[str, str]:
        image, _, organ = cells[ids].strip().rpartition("_")
        if not image or not organ:
            raise InputError(
                f"{cells[ids][:40]!r} is not an image and a class joined by _, as {column!r} says",
                where=str(table.path),
            )
        return image, organ

    return names


def _counted(ids: int, series: int, organs: int | None) -> Callable[[Sequence[str]], tuple[str, str]]:
    """Pictures that are numbered anew for every subject are ``subject_number``, as their files are called."""

    def names(cells: Sequence[str]) -> tuple[str, str]:
        image = cells[ids].strip()
        if image.isdecimal():
            image = f"{cells[series].strip()}_{image}"
        return image, "" if organs is None else cells[organs].strip()

    return names
