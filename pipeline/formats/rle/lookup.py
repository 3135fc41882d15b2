"""A file of masks as a lookup: the masks of one image or scan, without reading the whole file again for each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.labels import IGNORE
from pipeline.core.scan import Scan, permute, to_canonical
from pipeline.formats.rle.cell import UNNAMED, Cell
from pipeline.formats.rle.cells import DOCUMENTS, cells_of, read_cells
from pipeline.formats.rle.columns import id_of, mask_column
from pipeline.formats.rle.dialects import Dialect
from pipeline.formats.rle.edges import Mask
from pipeline.formats.rle.entries import EntryReader
from pipeline.formats.rle.tables import Places, Table, is_plain_csv, open_table, read_record
from pipeline.formats.rle.volume import Entry, to_pictures
from pipeline.formats.rle.writing import organ_key

if TYPE_CHECKING:
    from pipeline.core.study import Ingest, Organ

#: The id of a slice of a scan, as volumes are written in dialects of pictures.
SLICE = re.compile(r"(?P<scan>.+)_slice_(?P<number>[0-9]{1,6})")
_SUFFIX = re.compile(r"\.(png|jpe?g|tiff?|bmp|dcm|nii|nii\.gz|nrrd|mha)$", re.IGNORECASE)


class RleTable:
    """The masks of a file by image.

    A plain CSV is read through once, and then from where the rows of an image lie in it, so that the memory taken is
    that of the ids. Gzipped, Parquet and JSON files are held in memory.

    Args:
        path: The file.
        dialect: Name of its dialect; may be left out where the file names its own.

    Raises:
        InputError: The file is not readable, lacks a column, or names no dialect and none is given.
    """

    def __init__(self, path: str | Path, dialect: str | Dialect | None = None) -> None:
        self.path = Path(path)
        self._reader = EntryReader(path, dialect)
        self.dialect = self._reader.dialect
        self._held: dict[str, list[Cell]] = {}
        self._places = Places()
        self._columns: list[str] = []
        self._delimiter = ","
        if self.dialect.layout not in DOCUMENTS and is_plain_csv(self.path):
            self._index()
        else:
            for cell in read_cells(self.path, self.dialect):
                self._held.setdefault(cell.scan_id, []).append(cell)

    def ids(self) -> list[str]:
        """Images in the order of the file."""
        return list(self._held or self._places.last)

    def cells(self, scan_id: str) -> list[Cell]:
        """The masks of one image, not decoded.

        An id that is not in the file as it stands is looked for among the file's ids without folders and suffix.

        Raises:
            InputError: No image, or more than one, goes by this id.
        """
        names = self._names_of(scan_id)
        if self._held:
            return [cell for name in names for cell in self._held[name]]
        return [cell for name in names for cell in self._read(name)]

    def read(self, cell: Cell) -> Entry:
        """Decode one cell; errors are those of :meth:`EntryReader.read`."""
        return self._reader.read(cell)

    def masks(
        self,
        scan_id: str,
        organs: Sequence[str],
        shape: tuple[int, int, int],
        *,
        aliases: Mapping[str, str] | None = None,
    ) -> dict[str, Mask]:
        """The masks of one image on its grid.

        Args:
            scan_id: Image, as in the file.
            organs: Organs to look for; names match whatever their case, blanks, hyphens and underscores. Where there
                is one organ and the file names none, every mask is that organ's.
            shape: ``(X, Y, Z)``, the grid that the masks must have.
            aliases: Name in the file → organ.

        Returns:
            Organ → ``(X, Y, Z)`` boolean mask, for each organ that the file speaks of; an empty cell is an empty mask.

        Raises:
            InputError: An image or organ that is not known, a mask of another size, a slice outside the volume, or a
                cell that cannot be decoded; ``where`` names file, row, column and token.
        """
        wanted = {organ_key(organ): organ for organ in (*organs, IGNORE)}
        wanted |= {organ_key(name): organ for name, organ in (aliases or {}).items()}
        named = ((cell, self._organ(cell, wanted, organs)) for cell in self.cells(scan_id))
        cells = (self._fitted(cell, organ, shape) for cell, organ in named if organ is not None)
        masks: dict[str, Mask] = {}
        for _, entry in self._reader.entries(cells):
            if entry.organ not in masks:
                masks[entry.organ] = np.zeros(shape, np.bool_)
            entry.add_to(to_pictures(masks[entry.organ], entry.axis))
        if not masks:
            raise InputError(
                f"has no mask of {', '.join(organs)} for {scan_id!r}",
                where=str(self.path),
                remedy="Give the names that organs have in the file as aliases.",
            )
        return masks

    def _organ(self, cell: Cell, wanted: Mapping[str, str], organs: Sequence[str]) -> str | None:
        organ = wanted.get(organ_key(cell.organ))
        if organ is not None:
            return organ
        if cell.organ == UNNAMED and len(organs) == 1:
            return organs[0]
        if self.dialect.layout == "wide":
            # A column may hold anything; that none of them is an organ of the study is found at the end.
            return None
        raise InputError(
            "the file names no organ, and there are several"
            if cell.organ == UNNAMED
            else f"{cell.organ!r} is not an organ of the study",
            where=cell.where(self.path),
            remedy=f"Organs: {', '.join(organs)}. Give other names as aliases.",
        )

    def _fitted(self, cell: Cell, organ: str, shape: tuple[int, int, int]) -> Cell:
        """A cell of an organ with its size and its place in the volume, where they are those of the scan."""
        index, depth = cell.index, cell.depth
        numbered = SLICE.fullmatch(cell.scan_id)
        slices, *size = to_pictures(np.broadcast_to(False, shape), cell.axis).shape
        if depth == 1 and slices > 1 and numbered:
            index, depth = int(numbered["number"]) - 1, slices
        given = [cell.height or size[0], cell.width or size[1]]
        if given != size or depth != slices or index >= depth:
            raise InputError(
                f"the mask is slice {index + 1} of {depth} of {given[0]}×{given[1]} along {cell.axis}, "
                f"the scan has {slices} of {size[0]}×{size[1]}",
                where=cell.where(self.path),
                remedy="Mask and scan must have one size; nothing is resized.",
            )
        return replace(cell, organ=organ, height=size[0], width=size[1], index=index, depth=depth)

    def _names_of(self, scan_id: str) -> list[str]:
        known: Mapping[str, object] = self._held or self._places.last
        if scan_id in known:
            return [scan_id]
        slices, stems = self._other_names
        if scan_id in slices:
            return slices[scan_id]
        same = stems.get(_stem(scan_id), [])
        if len(same) == 1:
            return same
        raise InputError(
            f"{len(same)} images go by {scan_id!r}" if same else f"there is no image {scan_id!r}",
            where=str(self.path),
            remedy=f"Its ids are such as {', '.join(repr(name) for name in self.ids()[:3])}.",
        )

    @cached_property
    def _other_names(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """The ids of the slices of each scan, and ids by what they are without folders and suffix."""
        slices: dict[str, list[str]] = {}
        stems: dict[str, list[str]] = {}
        for name in self.ids():
            stems.setdefault(_stem(name), []).append(name)
            if numbered := SLICE.fullmatch(name):
                slices.setdefault(numbered["scan"], []).append(name)
        return slices, stems

    def _index(self) -> None:
        with open_table(self.path) as table:
            name_of = id_of(table, self.dialect)
            self._columns, self._delimiter = table.columns, table.delimiter
            if self.dialect.layout == "long":
                # Rows are read one by one later, where the cells of others can no more tell which column it is.
                masks = (self._columns[mask_column(table, self.dialect)],)
                self.dialect = replace(self.dialect, mask_columns=masks)
            for record in table.records:
                self._places.add(name_of(record[3]), record)

    def _read(self, name: str) -> Iterator[Cell]:
        with open(self.path, "rb") as handle:
            records = [read_record(handle, place, self._delimiter) for place in self._places.of(name)]
        yield from cells_of(Table(self.path, self._columns, iter(records)), self.dialect)


def rle_table(path: str | Path, dialect: str | None = None) -> RleTable:
    """A file as a lookup, kept for the next call as long as the file does not change.

    Raises:
        InputError: As :class:`RleTable`; or there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("the file does not exist", where=str(path))
    state = path.stat()
    return _table(path, dialect, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _table(path: Path, dialect: str | None, _modified: int, _size: int) -> RleTable:
    return RleTable(path, dialect)


def read_rle_masks(
    path: Path, scan: Scan, organs: Mapping[str, Organ], options: Ingest, names: Sequence[str]
) -> dict[str, Mask]:
    """Read the masks of one scan of a study from an RLE CSV, Parquet or COCO file of any dialect.

    Args:
        path: The file.
        scan: The scan in canonical orientation; the runs count on the grid of its file, before any crop.
        organs: The study's organs.
        options: ``rle_dialect`` for files that do not name their own.
        names: What the scan may be called in the file, the likeliest first.

    Returns:
        Organ → ``(X, Y, Z)`` mask on the grid of the scan's file, in canonical orientation.

    Raises:
        InputError: The scan is not in the file, or its runs are not right.
    """
    table = rle_table(path, options.rle_dialect)
    stored = scan.stored or scan.grid
    aliases = {alias: name for name, organ in organs.items() for alias in organ.aliases}
    masks = table.masks(_known(table, names), list(organs), stored.shape, aliases=aliases)
    if scan.is_flat:
        return masks
    axes, flips = to_canonical(stored)
    return {organ: permute(mask, axes, flips) for organ, mask in masks.items()}


def _known(table: RleTable, names: Sequence[str]) -> str:
    """The first name that the file knows."""
    for name in names:
        try:
            if table.cells(name):
                return name
        except InputError:
            continue
    raise InputError(
        "the file of run lengths has no rows of this scan",
        remedy="Its image column must hold the scan_id or the name of the scan's file.",
    )


def _stem(name: str) -> str:
    """An id without folders and the suffix of a picture or scan."""
    return _SUFFIX.sub("", name.replace("\\", "/").rsplit("/", 1)[-1])
