"""Entries → files in any dialect, row by row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Protocol

from pipeline.core.errors import InputError
from pipeline.core.files import whole_file
from pipeline.core.labels import LabelMap
from pipeline.formats.rle.cells import ORGANSEG_COLUMNS
from pipeline.formats.rle.coco_json import CocoWriter, coco_value
from pipeline.formats.rle.codec import write_cell
from pipeline.formats.rle.dialects import Dialect, dialect_named
from pipeline.formats.rle.tables import RowWriter, open_text_for_writing, write_rows
from pipeline.formats.rle.volume import Entry, checksum, label_entries, stack_of


class MaskWriter(Protocol):
    """Takes masks one by one."""

    def write(self, entry: Entry) -> None:
        """Append a mask.

        Raises:
            InputError: The dialect has no place for it.
        """


def slice_id(entry: Entry) -> str:
    """The image id of a slice in dialects without a column for slices: ``<scan_id>_slice_0001``, from 1."""
    return entry.scan_id if entry.depth == 1 else f"{entry.scan_id}_slice_{entry.index + 1:04d}"


class _LongWriter:
    """A row an object."""

    def __init__(self, rows: RowWriter, dialect: Dialect) -> None:
        self._rows = rows
        self._dialect = dialect
        self._organ: str | None = None

    def write(self, entry: Entry) -> None:
        if not self._dialect.class_columns:
            self._organ = self._organ or entry.organ
            if entry.organ != self._organ:
                raise InputError(
                    f"{self._dialect.name} has no column for organs, and there are {self._organ!r} and {entry.organ!r}",
                    remedy="Choose one organ, or a dialect such as organseg, uw-madison or coco.",
                )
        for part in entry.slices():
            middle = [part.organ] if self._dialect.class_columns else []
            self._rows.write([slice_id(part), *middle, self._text(part)])

    def _text(self, entry: Entry) -> str:
        if self._dialect.layout == "coco":
            return json.dumps(coco_value(entry.runs, self._dialect))
        return write_cell(entry.runs, self._dialect)


class _WideWriter:
    """A row an image and a column an organ: the rows of one image are gathered until the next image begins."""

    def __init__(self, rows: RowWriter, dialect: Dialect, organs: Sequence[str]) -> None:
        self._rows = rows
        self._dialect = dialect
        self._organs = {organ_key(organ): index for index, organ in enumerate(organs)}
        self._scan_id: str | None = None
        self._parts: list[Entry | None] = []
        self._seen: set[int] = set()

    def write(self, entry: Entry) -> None:
        for part in entry.slices():
            self._add(part)

    def _add(self, part: Entry) -> None:
        scan_id = slice_id(part)
        if scan_id != self._scan_id:
            self.flush()
            # Hashes rather than ids: a million ids would take the memory that streaming saves.
            if hash(scan_id) in self._seen:
                raise InputError(
                    f"the rows of image {scan_id!r} do not follow each other",
                    remedy="Sort the file by image; a row of this dialect holds all organs of an image.",
                )
            self._seen.add(hash(scan_id))
            self._scan_id = scan_id
            self._parts = [None] * len(self._organs)
        place = self._organs.get(organ_key(part.organ))
        if place is None:
            raise InputError(f"there is no column for organ {part.organ!r}", remedy="Name all organs beforehand.")
        before = self._parts[place]
        if before is not None:
            part = Entry(part.scan_id, part.organ, before.runs.union(part.runs), part.axis, part.index, part.depth)
        self._parts[place] = part

    def flush(self) -> None:
        """Write the image at hand."""
        if self._scan_id is None:
            return
        height, width = next(part for part in self._parts if part is not None).picture_size
        cells = ["" if part is None else write_cell(part.runs, self._dialect) for part in self._parts]
        self._rows.write([self._scan_id, *cells, height, width])
        self._scan_id = None


class _OrgansegWriter:
    """Our own dialect: every row says how to decode itself."""

    def __init__(self, rows: RowWriter, dialect: Dialect) -> None:
        self._rows = rows
        self._dialect = dialect

    def write(self, entry: Entry) -> None:
        entry = entry.reordered(self._dialect.order)
        height, width = entry.picture_size
        self._rows.write(
            [
                entry.scan_id,
                entry.organ,
                entry.axis,
                entry.index,
                entry.depth,
                height,
                width,
                self._dialect.order,
                self._dialect.base,
                "" if entry.spacing is None else " ".join(f"{step:.9g}" for step in entry.spacing),
                entry.unit,
                "" if entry.affine is None else " ".join(f"{value:.12g}" for value in entry.affine[:3].ravel()),
                write_cell(entry.runs, self._dialect),
                checksum(stack_of(entry.runs, entry.axis, entry.depth)),
                self._dialect.name,
            ]
        )


class _CocoFileWriter:
    def __init__(self, coco: CocoWriter) -> None:
        self._coco = coco

    def write(self, entry: Entry) -> None:
        for part in entry.slices():
            self._coco.write(slice_id(part), part.organ, part.runs)


@contextmanager
def open_masks(path: str | Path, dialect: str | Dialect, organs: Sequence[str] = ()) -> Iterator[MaskWriter]:
    """Open a file to write masks to, whole or not at all.

    Args:
        path: ``.csv``, ``.csv.gz`` or ``.parquet``; for COCO ``.json`` and ``.json.gz`` too.
        dialect: What to write.
        organs: Columns of the wide layout; by default those that are customary in it.

    Raises:
        InputError: The suffix or the dialect is not known.
    """
    dialect = dialect_named(dialect)
    path = Path(path)
    name = path.name.lower()
    if name.endswith((".json", ".json.gz")):
        if dialect.layout != "coco":
            raise InputError(f"{dialect.name} is a table, not JSON", where=str(path), remedy="Write a .csv file.")
        with whole_file(path) as part, open_text_for_writing(part, packed=name.endswith(".gz")) as text:
            coco = CocoWriter(text, dialect)
            yield _CocoFileWriter(coco)
            coco.close()
        return
    if dialect.layout == "organseg":
        with write_rows(path, ORGANSEG_COLUMNS) as rows:
            yield _OrgansegWriter(rows, dialect)
    elif dialect.layout == "wide":
        chosen = _as_customary(list(organs) or list(dialect.mask_columns), dialect)
        with write_rows(path, [dialect.id_columns[0], *chosen, "Height", "Width"]) as rows:
            wide = _WideWriter(rows, dialect, chosen)
            yield wide
            wide.flush()
    else:
        columns = [dialect.id_columns[0], *dialect.class_columns[:1], dialect.mask_columns[0]]
        with write_rows(path, columns) as rows:
            yield _LongWriter(rows, dialect)


def organ_key(name: str) -> str:
    """Organ names are the same whatever their case, blanks, hyphens and underscores."""
    return "".join(letter for letter in name.lower() if letter not in " _-\t")


def _as_customary(organs: list[str], dialect: Dialect) -> list[str]:
    custom = {organ_key(name): name for name in dialect.mask_columns}
    return [custom.get(organ_key(organ), organ) for organ in organs]


def write_masks(
    path: str | Path,
    items: Iterable[tuple[str, LabelMap, str]],
    dialect: str | Dialect = "organseg",
    *,
    axis: str = "z",
    every_slice: bool = False,
    organs: Sequence[str] = (),
) -> int:
    """Write label maps, one after the other, to a file of run lengths.

    Args:
        path: ``.csv``, ``.csv.gz``, ``.parquet``; for COCO also ``.json`` and ``.json.gz``.
        items: ``(scan_id, label map, unit of its spacing: "mm" or "px")``; taken one by one.
        dialect: Name in the table of dialects.
        axis: Array axis to slice along (``x``, ``y``, ``z``), or ``volume`` for runs through the whole volume.
        every_slice: Write slices without a pixel too.
        organs: Columns of the wide layout; by default the organs of the first label map.

    Returns:
        Number of masks written.

    Raises:
        InputError: The dialect has no place for what is to be written.
    """
    dialect = dialect_named(dialect)
    stream = iter(items)
    first = next(stream, None)
    columns = list(organs) or ([] if first is None else list(first[1].organs))
    count = 0
    with open_masks(path, dialect, columns) as writer:
        for scan_id, labels, unit in () if first is None else chain([first], stream):
            for entry in label_entries(scan_id, labels, unit, dialect.order, axis, every_slice=every_slice):
                try:
                    writer.write(entry)
                except InputError as error:
                    raise InputError(error.what, where=error.where or scan_id, remedy=error.remedy) from None
                count += 1
    return count
