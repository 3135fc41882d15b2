"""Entries → files in any dialect, row by row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.files import whole_file
from pipeline.core.labels import LabelMap
from pipeline.formats.rle.batch import write_texts
from pipeline.formats.rle.cells import ORGANSEG_COLUMNS
from pipeline.formats.rle.coco_json import CocoWriter, coco_values
from pipeline.formats.rle.dialects import Dialect, dialect_named
from pipeline.formats.rle.tables import RowWriter, open_text_for_writing, write_rows
from pipeline.formats.rle.volume import Entry, checksums, label_entries

#: Masks, and runs of them, that are written at once.
_MASKS = 512
_RUNS = 40_000

T = TypeVar("T")


class MaskWriter(Protocol):
    """Takes masks, a few hundred at a time."""

    def write(self, entries: Iterable[Entry]) -> int:
        """Append masks as they come, and count them.

        Raises:
            InputError: The dialect has no place for the mask that was taken last.
        """


def batched(items: Iterable[T], weight: Callable[[T], int]) -> Iterator[list[T]]:
    """Cut a stream of masks into lists that are worth a call of NumPy and take little memory.

    Args:
        items: The stream.
        weight: Runs of an item.
    """
    batch: list[T] = []
    runs = 0
    for item in items:
        batch.append(item)
        runs += weight(item)
        if len(batch) >= _MASKS or runs >= _RUNS:
            yield batch
            batch, runs = [], 0
    if batch:
        yield batch


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    return batched(entries, lambda entry: entry.runs.count)


def slice_id(entry: Entry) -> str:
    """The image id of a slice in dialects without a column for slices: ``<scan_id>_slice_0001``, from 1."""
    return entry.scan_id if entry.depth == 1 else f"{entry.scan_id}_slice_{entry.index + 1:04d}"


class _LongWriter:
    """A row an object."""

    def __init__(self, rows: RowWriter, dialect: Dialect) -> None:
        self._rows = rows
        self._dialect = dialect
        self._organ: str | None = None

    def write(self, entries: Iterable[Entry]) -> int:
        count = 0
        for batch in _batches(self._checked(entries)):
            count += len(batch)
            parts = [part for entry in batch for part in entry.slices()]
            classes = bool(self._dialect.class_columns)
            self._rows.write(
                [slice_id(part), part.organ, text] if classes else [slice_id(part), text]
                for part, text in zip(parts, self._texts(parts), strict=True)
            )
        return count

    def _checked(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if not self._dialect.class_columns:
                self._organ = self._organ or entry.organ
                if entry.organ != self._organ:
                    raise InputError(
                        f"{self._dialect.name} has no column for organs, and there are {self._organ!r} and "
                        f"{entry.organ!r}",
                        remedy="Give masks of one organ, or choose a dialect such as organseg, uw-madison or coco.",
                    )
            yield entry

    def _texts(self, parts: list[Entry]) -> list[str]:
        pictures = [part.runs for part in parts]
        texts = write_texts(pictures, self._dialect)
        if self._dialect.layout != "coco":
            return texts
        values = coco_values(pictures, texts, self._dialect)
        return [json.dumps(value) for value in values]


class _WideWriter:
    """A row an image and a column an organ: the rows of one image are gathered until the next image begins."""

    def __init__(self, rows: RowWriter, dialect: Dialect, organs: Sequence[str]) -> None:
        self._rows = rows
        self._dialect = dialect
        self._organs = {organ_key(organ): index for index, organ in enumerate(organs)}
        self._scan_id: str | None = None
        self._parts: dict[int, Entry] = {}
        self._seen: set[int] = set()

    def write(self, entries: Iterable[Entry]) -> int:
        count = 0

        def images() -> Iterator[tuple[str, dict[int, Entry]]]:
            nonlocal count
            for entry in entries:
                for part in entry.slices():
                    yield from self._ended(slice_id(part))
                    self._add(part)
                count += 1
            yield from self._ended(None)

        for batch in batched(images(), lambda image: sum(part.runs.count for part in image[1].values())):
            texts = iter(write_texts([part.runs for _, parts in batch for part in parts.values()], self._dialect))
            for scan_id, parts in batch:
                cells = [""] * len(self._organs)
                for place in parts:
                    cells[place] = next(texts)
                height, width = next(iter(parts.values())).picture_size
                self._rows.write([[scan_id, *cells, height, width]])
        return count

    def _ended(self, scan_id: str | None) -> Iterator[tuple[str, dict[int, Entry]]]:
        """The image at hand, where another one begins or none."""
        if scan_id == self._scan_id:
            return
        if self._scan_id is not None:
            yield self._scan_id, self._parts
        # Hashes rather than ids: a million ids would take the memory that streaming saves.
        if scan_id is not None and hash(scan_id) in self._seen:
            raise InputError(
                f"the rows of image {scan_id!r} do not follow each other",
                remedy="Sort the file by image; a row of this dialect holds all organs of an image.",
            )
        self._seen.add(hash(scan_id))
        self._scan_id, self._parts = scan_id, {}

    def _add(self, part: Entry) -> None:
        place = self._organs.get(organ_key(part.organ))
        if place is None:
            raise InputError(f"there is no column for organ {part.organ!r}", remedy="Name all organs beforehand.")
        before = self._parts.get(place)
        self._parts[place] = part if before is None else replace(part, runs=before.runs.union(part.runs))


class _OrgansegWriter:
    """Our own dialect: every row says how to decode itself."""

    def __init__(self, rows: RowWriter, dialect: Dialect) -> None:
        self._rows = rows
        self._dialect = dialect
        self._last: tuple[NDArray[np.float64] | None, str] = (None, "")

    def write(self, entries: Iterable[Entry]) -> int:
        count = 0
        order, base, name = self._dialect.order, self._dialect.base, self._dialect.name
        for batch in _batches(entries):
            count += len(batch)
            batch = [entry.reordered(order) if entry.axis == "volume" else entry for entry in batch]
            texts = write_texts([entry.runs for entry in batch], self._dialect)
            rows = []
            for entry, text, check in zip(batch, texts, checksums(batch), strict=True):
                place = (entry.scan_id, entry.organ, entry.axis, entry.index, entry.depth, *entry.picture_size)
                geometry = (spacing_text(entry.spacing), entry.unit, self._affine(entry.affine))
                rows.append((*place, order, base, *geometry, text, check, name))
            self._rows.write(rows)
        return count

    def _affine(self, affine: NDArray[np.float64] | None) -> str:
        # The rows of one scan share one affine.
        if affine is not self._last[0]:
            numbers = [] if affine is None else affine[:3].ravel().tolist()
            self._last = affine, " ".join(f"{value:.12g}" for value in numbers)
        return self._last[1]


@lru_cache(maxsize=1024)
def spacing_text(spacing: tuple[float, float, float] | None) -> str:
    """The cell of a spacing in our own dialect."""
    return "" if spacing is None else " ".join(f"{step:.9g}" for step in spacing)


class _CocoFileWriter:
    def __init__(self, coco: CocoWriter) -> None:
        self._coco = coco

    def write(self, entries: Iterable[Entry]) -> int:
        count = 0
        for batch in _batches(entries):
            count += len(batch)
            parts = [part for entry in batch for part in entry.slices()]
            self._coco.write([(slice_id(part), part.organ, part.runs) for part in parts])
        return count


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
            yield _WideWriter(rows, dialect, chosen)
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
    entries = (
        entry
        for scan_id, labels, unit in (() if first is None else chain([first], stream))
        for entry in label_entries(scan_id, labels, unit, dialect.order, axis, every_slice=every_slice)
    )
    return write_entries(path, entries, dialect, columns)


def write_entries(
    path: str | Path, entries: Iterable[Entry], dialect: str | Dialect = "organseg", organs: Sequence[str] = ()
) -> int:
    """Write masks as they come; arguments, returns and errors are those of :func:`write_masks`."""
    with open_masks(path, dialect, organs) as writer:
        return write_from(writer, ((entry, entry) for entry in entries), lambda at: None if at is None else at.scan_id)


def write_from(writer: MaskWriter, pairs: Iterable[tuple[T, Entry]], where: Callable[[T | None], str | None]) -> int:
    """Write entries, each with what it comes from.

    Args:
        writer: An open file.
        pairs: What an entry comes from, and the entry.
        where: Names the place of what was being written when the dialect had no place for it; ``None`` is nothing yet.

    Raises:
        InputError: The dialect has no place for an entry.
    """
    at: T | None = None

    def noted() -> Iterator[Entry]:
        nonlocal at
        for origin, entry in pairs:
            at = origin
            yield entry

    try:
        return writer.write(noted())
    except InputError as error:
        raise InputError(error.what, where=error.where or where(at), remedy=error.remedy) from None
