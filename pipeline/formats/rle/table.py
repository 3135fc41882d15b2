"""A file of masks as a lookup: the masks of one image, without reading the whole file again for each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.labels import IGNORE
from pipeline.formats.rle.cell import UNNAMED, Cell
from pipeline.formats.rle.cells import cells_of, column_of, declared_dialect, read_cells
from pipeline.formats.rle.dialects import Dialect, dialect_named
from pipeline.formats.rle.entries import unlike_checksum
from pipeline.formats.rle.runs import Mask
from pipeline.formats.rle.tables import Places, Table, is_plain_csv, open_records, open_table, read_record
from pipeline.formats.rle.volume import checksum, stack_of, to_pictures
from pipeline.formats.rle.writing import organ_key

_SLICE = re.compile(r"(?P<scan>.+)_slice_(?P<number>[0-9]{1,6})")
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
        self.dialect = known_dialect(path, dialect)
        self._held: dict[str, list[Cell]] = {}
        self._places = Places()
        self._columns: list[str] = []
        if is_plain_csv(self.path) and self.dialect.layout != "coco":
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

    def masks(
        self,
        scan_id: str,
        organs: Sequence[str],
        shape: tuple[int, int, int],
        *,
        aliases: Mapping[str, str] | None = None,
        lenient: bool = False,
    ) -> dict[str, Mask]:
        """The masks of one image on its grid.

        Args:
            scan_id: Image, as in the file.
            organs: Organs to look for; names match whatever their case, blanks, hyphens and underscores. Where there
                is one organ and the file names none, every mask is that organ's.
            shape: ``(X, Y, Z)``, the grid that the masks must have.
            aliases: Name in the file → organ.
            lenient: Repair what can be repaired.

        Returns:
            Organ → ``(X, Y, Z)`` boolean mask, for each organ that the file speaks of; an empty cell is an empty mask.

        Raises:
            InputError: An image or organ that is not known, a mask of another size, a slice outside the volume, or a
                cell that cannot be decoded; ``where`` names file, row, column and token.
        """
        wanted = {organ_key(organ): organ for organ in (*organs, IGNORE)}
        wanted |= {organ_key(name): organ for name, organ in (aliases or {}).items()}
        masks: dict[str, Mask] = {}
        for cell in self.cells(scan_id):
            organ = self._organ(cell, wanted, organs)
            if organ is not None:
                mask = masks.setdefault(organ, np.zeros(shape, np.bool_))
                self._paint(cell, mask, lenient)
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

    def _paint(self, cell: Cell, mask: Mask, lenient: bool) -> None:
        """Add a cell to an ``(X, Y, Z)`` mask, in place."""
        axis, index, depth = cell.axis, cell.index, cell.depth
        numbered = _SLICE.fullmatch(cell.scan_id)
        pictures = to_pictures(mask, axis)
        if depth == 1 and pictures.shape[0] > 1 and numbered:
            index, depth = int(numbered["number"]) - 1, pictures.shape[0]
        size = (pictures.shape[1], pictures.shape[2])
        given = (cell.height or size[0], cell.width or size[1])
        if given != size or depth != pictures.shape[0] or index >= depth:
            raise InputError(
                f"the mask is slice {index + 1} of {depth} of {given[0]}×{given[1]} along {axis}, "
                f"the scan has {pictures.shape[0]} of {size[0]}×{size[1]}",
                where=cell.where(self.path),
                remedy="Mask and scan must have one size; nothing is resized.",
            )
        runs, _ = cell.runs(self.path, size, lenient=lenient)
        stack = stack_of(runs, axis, depth)
        stated = cell.extra.get("checksum", "")
        if stated and stated != checksum(stack):
            raise unlike_checksum(cell, checksum(stack), self.path)
        if axis == "volume":
            pictures |= stack
        else:
            pictures[index] |= stack[0]

    def _names_of(self, scan_id: str) -> list[str]:
        known: Mapping[str, object] = self._held or self._places.last
        if scan_id in known:
            return [scan_id]
        slices = self._slices.get(scan_id)
        if slices:
            return slices
        same = self._stems.get(_stem(scan_id), [])
        if len(same) == 1:
            return same
        raise InputError(
            f"{len(same)} images go by {scan_id!r}" if same else f"there is no image {scan_id!r}",
            where=str(self.path),
            remedy=f"Its ids are such as {', '.join(repr(name) for name in self.ids()[:3])}.",
        )

    @cached_property
    def _stems(self) -> dict[str, list[str]]:
        stems: dict[str, list[str]] = {}
        for name in self.ids():
            stems.setdefault(_stem(name), []).append(name)
        return stems

    @cached_property
    def _slices(self) -> dict[str, list[str]]:
        scans: dict[str, list[str]] = {}
        for name in self.ids():
            found = _SLICE.fullmatch(name)
            if found:
                scans.setdefault(found["scan"], []).append(name)
        return scans

    def _index(self) -> None:
        with open_table(self.path) as table:
            self._columns = table.columns
            ids = column_of(table, self.dialect.id_columns)
        if ids is None:
            # Raises the error that names the columns.
            next(read_cells(self.path, self.dialect), None)
            return
        with open_records(self.path) as records:
            for row, place, cells in records:
                self._places.add(cells[ids].strip(), row, place)

    def _read(self, name: str) -> Iterator[Cell]:
        with open(self.path, "rb") as handle:
            rows = [(row, read_record(handle, place)) for row, place in self._places.of(name)]
        yield from cells_of(self.path, Table(self._columns, iter(rows), lambda: 1.0), self.dialect)


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


def read_mask(
    path: str | Path,
    scan_id: str,
    organs: Sequence[str],
    shape: tuple[int, int, int],
    dialect: str | None = None,
    *,
    aliases: Mapping[str, str] | None = None,
    lenient: bool = False,
) -> dict[str, Mask]:
    """The masks of one image of a file; the file's index is kept for the next call.

    Args, returns and errors are those of :class:`RleTable` and :meth:`RleTable.masks`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("the file does not exist", where=str(path))
    state = path.stat()
    table = _table(path, dialect, state.st_mtime_ns, state.st_size)
    return table.masks(scan_id, organs, shape, aliases=aliases, lenient=lenient)


@lru_cache(maxsize=4)
def _table(path: Path, dialect: str | None, _modified: int, _size: int) -> RleTable:
    return RleTable(path, dialect)


def _stem(name: str) -> str:
    """An id without folders and the suffix of a picture or scan."""
    return _SUFFIX.sub("", name.replace("\\", "/").rsplit("/", 1)[-1])
