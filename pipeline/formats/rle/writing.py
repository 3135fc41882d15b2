"""Entries → files in any dialect, row by row."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from itertools import chain, groupby
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.files import whole_file
from pipeline.core.labels import LabelMap
from pipeline.formats.rle.cells import ORGANSEG_COLUMNS
from pipeline.formats.rle.codec import write_texts
from pipeline.formats.rle.dialects import DIALECTS, READ_ONLY, Dialect, dialect_named
from pipeline.formats.rle.runs import Runs
from pipeline.formats.rle.tables import RowWriter, open_text_for_writing, write_rows
from pipeline.formats.rle.volume import Entry, checksums, label_entries

#: Masks, and runs of them, that are written at once.
_MASKS = 512
_RUNS = 40_000

T = TypeVar("T")


def slice_id(entry: Entry) -> str:
    """The image id of a slice in dialects without a column for slices: ``<scan_id>_slice_0001``, from 1."""
    return entry.scan_id if entry.depth == 1 else f"{entry.scan_id}_slice_{entry.index + 1:04d}"


class MaskWriter(ABC):
    """Takes masks one by one, and writes them a few hundred at a time."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._held: list[Entry] = []
        self._runs = 0

    def add(self, entry: Entry) -> None:
        """Append a mask, slice by slice where it is a volume.

        Raises:
            InputError: The dialect has no place for it.
        """
        for part in entry.slices():
            self._hold(part)

    def _hold(self, entry: Entry) -> None:
        self._held.append(entry)
        self._runs += entry.runs.starts.size
        self._flush_when_full()

    def _flush_when_full(self) -> None:
        if len(self._held) >= _MASKS or self._runs >= _RUNS:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            held, self._held, self._runs = self._held, [], 0
            self._write(held, write_texts(Runs.gather([entry.runs for entry in held]), self._dialect))

    @abstractmethod
    def _write(self, entries: list[Entry], texts: list[str]) -> None:
        """Write masks and their cells."""

    def close(self) -> None:
        """Write what is still held."""
        self._flush()


class _LongWriter(MaskWriter):
    """A row an object."""

    def __init__(self, dialect: Dialect, rows: RowWriter) -> None:
        super().__init__(dialect)
        self._rows = rows
        self._organ: str | None = None

    def add(self, entry: Entry) -> None:
        self._organ = self._organ or entry.organ
        if entry.organ != self._organ and not self._dialect.class_columns:
            raise InputError(
                f"{self._dialect.name} has no column for organs, and there are {self._organ!r} and {entry.organ!r}",
                remedy="Give masks of one organ, or choose a dialect such as organseg, uw-madison or coco.",
            )
        super().add(entry)

    def _write(self, entries: list[Entry], texts: list[str]) -> None:
        if self._dialect.layout == "coco":
            texts = [json.dumps(_coco_value(*pair, self._dialect)) for pair in zip(entries, texts, strict=True)]
        classes = bool(self._dialect.class_columns)
        self._rows.write(
            [slice_id(entry), entry.organ, text] if classes else [slice_id(entry), text]
            for entry, text in zip(entries, texts, strict=True)
        )


class _WideWriter(MaskWriter):
    """A row an image and a column an organ: the rows of one image are gathered until the next image begins."""

    def __init__(self, dialect: Dialect, rows: RowWriter, organs: Sequence[str]) -> None:
        super().__init__(dialect)
        self._rows = rows
        self._organs = {organ_key(organ): index for index, organ in enumerate(organs)}
        self._image: dict[int, Entry] = {}
        self._scan_id: str | None = None
        # Hashes rather than ids: a million ids would take the memory that streaming saves.
        self._seen: set[int] = set()

    def _hold(self, entry: Entry) -> None:
        scan_id = slice_id(entry)
        if scan_id != self._scan_id:
            if hash(scan_id) in self._seen:
                raise InputError(
                    f"the rows of image {scan_id!r} do not follow each other",
                    remedy="Sort the file by image; a row of this dialect holds all organs of an image.",
                )
            self._end_image()
            self._seen.add(hash(scan_id))
            self._scan_id = scan_id
        place = self._organs.get(organ_key(entry.organ))
        if place is None:
            raise InputError(f"there is no column for organ {entry.organ!r}", remedy="Name all organs beforehand.")
        before = self._image.get(place)
        united = entry if before is None else replace(entry, runs=Runs.gather([before.runs, entry.runs]).united())
        self._image[place] = united

    def _end_image(self) -> None:
        # The objects of an image are held together, so that no row of the table is cut.
        self._held += self._image.values()
        self._runs += sum(part.runs.starts.size for part in self._image.values())
        self._image = {}
        self._flush_when_full()

    def _write(self, entries: list[Entry], texts: list[str]) -> None:
        rows = []
        for scan_id, image in groupby(zip(entries, texts, strict=True), key=lambda pair: slice_id(pair[0])):
            cells = [""] * len(self._organs)
            for entry, text in image:
                cells[self._organs[organ_key(entry.organ)]] = text
            rows.append([scan_id, *cells, *entry.picture_size])
        self._rows.write(rows)

    def close(self) -> None:
        self._end_image()
        super().close()


class _OrgansegWriter(MaskWriter):
    """Our own dialect: every row says how to decode itself, and a volume may be one row."""

    def __init__(self, dialect: Dialect, rows: RowWriter) -> None:
        super().__init__(dialect)
        self._rows = rows
        self._last: tuple[NDArray[np.float64] | None, str] = (None, "")

    def add(self, entry: Entry) -> None:
        self._hold(entry.reordered(self._dialect.order) if entry.axis == "volume" else entry)

    def _write(self, entries: list[Entry], texts: list[str]) -> None:
        order, base, name = self._dialect.order, self._dialect.base, self._dialect.name
        rows = []
        for entry, text, check in zip(entries, texts, checksums(entries), strict=True):
            place = (entry.scan_id, entry.organ, entry.axis, entry.index, entry.depth, *entry.picture_size)
            geometry = (spacing_text(entry.spacing), entry.unit, self._affine(entry.affine))
            rows.append((*place, order, base, *geometry, text, check, name))
        self._rows.write(rows)

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


class _CocoFileWriter(MaskWriter):
    """COCO's annotation file, annotations first and one by one, so that only names are kept in memory."""

    def __init__(self, dialect: Dialect, text: IO[str]) -> None:
        super().__init__(dialect)
        self._text = text
        self._images: dict[str, dict[str, Any]] = {}
        self._categories: dict[str, int] = {}
        self._count = 0
        text.write('{"annotations": [')

    def _write(self, entries: list[Entry], texts: list[str]) -> None:
        runs = Runs.gather([entry.runs for entry in entries])
        figures = zip(runs.areas.tolist(), runs.bounding_boxes().tolist(), strict=True)
        for entry, text, (area, box) in zip(entries, texts, figures, strict=True):
            name, (height, width) = slice_id(entry), entry.picture_size
            image = self._images.setdefault(
                name, {"id": len(self._images) + 1, "file_name": name, "height": height, "width": width}
            )
            top, left, bottom, right = box if area else (0, 0, -1, -1)
            self._count += 1
            annotation = {
                "id": self._count,
                "image_id": image["id"],
                "category_id": self._categories.setdefault(entry.organ, len(self._categories) + 1),
                "segmentation": _coco_value(entry, text, self._dialect),
                "area": area,
                "bbox": [left, top, right - left + 1, bottom - top + 1],
                "iscrowd": 0,
            }
            self._text.write(("" if self._count == 1 else ",") + "\n" + json.dumps(annotation))

    def close(self) -> None:
        """Write the images and categories that the annotations name."""
        super().close()
        categories = [{"id": number, "name": name} for name, number in self._categories.items()]
        images = json.dumps(list(self._images.values()))
        self._text.write(f'\n],\n"images": {images},\n"categories": {json.dumps(categories)}}}\n')


def _coco_value(entry: Entry, text: str, dialect: Dialect) -> dict[str, Any]:
    """``{"size": [h, w], "counts": …}`` as COCO has it."""
    return {"size": [*entry.picture_size], "counts": json.loads(text) if dialect.kind == "counts" else text}


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
    if dialect.name in READ_ONLY:
        raise InputError(f"{dialect.name} is read and not written", remedy=f"Write one of {', '.join(DIALECTS)}.")
    path = Path(path)
    name = path.name.lower()
    if name.endswith((".json", ".json.gz")):
        if dialect.layout != "coco":
            raise InputError(f"{dialect.name} is a table, not JSON", where=str(path), remedy="Write a .csv file.")
        with whole_file(path) as part, open_text_for_writing(part, packed=name.endswith(".gz")) as text:
            writer: MaskWriter = _CocoFileWriter(dialect, text)
            yield writer
            writer.close()
        return
    chosen = _as_customary(list(organs) or list(dialect.mask_columns), dialect)
    if dialect.layout == "organseg":
        columns = list(ORGANSEG_COLUMNS)
    elif dialect.layout == "wide":
        columns = [dialect.id_columns[0], *chosen, "Height", "Width"]
    else:
        columns = [dialect.id_columns[0], *dialect.class_columns[:1], dialect.mask_columns[0]]
    with write_rows(path, columns) as rows:
        if dialect.layout == "organseg":
            writer = _OrgansegWriter(dialect, rows)
        else:
            writer = _WideWriter(dialect, rows, chosen) if dialect.layout == "wide" else _LongWriter(dialect, rows)
        yield writer
        writer.close()


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
    return write_from(path, ((entry, entry) for entry in entries), lambda entry: entry.scan_id, dialect, organs)


def write_from(
    path: str | Path,
    pairs: Iterable[tuple[T, Entry]],
    where: Callable[[T], str],
    dialect: str | Dialect,
    organs: Sequence[str] = (),
) -> int:
    """Write masks, each with what it comes from, whose place ``where`` names for an error; as :func:`write_entries`."""
    count = 0
    at: T | None = None
    with open_masks(path, dialect, organs) as writer:
        try:
            for origin, entry in pairs:
                at = origin
                writer.add(entry)
                count += 1
        except InputError as error:
            place = error.where or (None if at is None else where(at))
            raise InputError(error.what, where=place, remedy=error.remedy) from None
    return count
