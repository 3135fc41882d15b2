"""Masks to compare without a study: single files, folders of files, and files of run lengths, in any format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.labels import IGNORE
from pipeline.core.scan import FRONTAL_AFFINE, Grid, permute, to_canonical
from pipeline.core.units import LengthUnit
from pipeline.evaluate.mask_files import UNNAMED, looker, names_of, read_file
from pipeline.evaluate.scan_masks import ScanMasks
from pipeline.formats.mask_folder import Layout, Reading, in_words, is_image_name, list_files, readings, stem
from pipeline.formats.table import sniff
from pipeline.imaging.surfaces import Mask

if TYPE_CHECKING:
    from pipeline.formats.rle.cells import Cell
    from pipeline.formats.rle.lookup import RleTable

__all__ = ["UNNAMED", "Files", "RunLengths", "ScanMasks", "Source", "open_sources"]


def open_sources(path: Path, dialect: str | None = None, layout: Layout | None = None) -> list[Source]:
    """One side of a comparison; several where the names of a folder can be read in several ways.

    Args:
        path: File or folder.
        dialect: Dialect of a file of run lengths that does not name its own.
        layout: How the paths in a folder are to be read.

    Raises:
        InputError: Nothing is there, or it holds no masks.
    """
    if not path.exists():
        raise InputError("the file does not exist", where=str(path))
    if not path.is_dir():
        if _is_table(path):
            return run_lengths(path, dialect)
        return [Files(path, Reading({stem(path): {"": path}}, "scan", ""))]
    listed = list_files(path)
    files = [file for file in listed if is_image_name(file) or ("." not in file.name[-8:] and sniff(file) == "dicom")]
    if files:
        return [Files(path, reading) for reading in readings(path, files, looker(), layout)]
    tables = [file for file in listed if file.suffix.lower() in {".csv", ".json", ".parquet"} and _is_table(file)]
    tables = [file for file in tables if file.name != "dataset.json"]
    if len(tables) == 1:
        return run_lengths(tables[0], dialect)
    if tables:
        raise InputError(
            f"holds {len(tables)} tables: {in_words(file.name for file in tables)}",
            where=str(path),
            remedy="Name the one that holds the masks.",
        )
    raise InputError(
        "holds no masks",
        where=str(path),
        remedy="NIfTI, NRRD, PNG, JPEG, TIFF, DICOM SEG and files of run lengths are read.",
    )


def _is_table(path: Path) -> bool:
    return path.suffix.lower() == ".parquet" or sniff(path) == "text"


@dataclass(frozen=True)
class Files:
    """Masks in files, one or several a scan.

    Attributes:
        path: What the user named.
        reading: Which scan and organ each file is of.
    """

    path: Path
    reading: Reading

    @property
    def files(self) -> Mapping[str, Mapping[str, Path]]:
        """Scan → organ → file; an organ without a name means all organs of the file."""
        return self.reading.files

    def names(self) -> list[str]:
        """Scans in order."""
        return list(self.files)

    def organs(self) -> list[str]:
        """Organs that the paths name."""
        return self.reading.organs

    def file_names(self) -> dict[str, str]:
        """Scan → the name of its file, where it has one."""
        single = self.reading.layout == "scan"
        return {name: stem(next(iter(own.values()))) for name, own in self.files.items()} if single else {}

    def told(self) -> str:
        """What was taken for scans and organs, in a sentence; nothing of a single file."""
        if not self.reading.told:
            return ""
        organs = self.reading.organs
        said = [f"{len(self.files)} scan{'s' if len(self.files) != 1 else ''} ({in_words(self.files)})"]
        said.append(f"organs by the paths ({in_words(organs, 12)})" if organs else "organs by what the files hold")
        if self.reading.passed_over:
            said.append(f"{len(self.reading.passed_over)} files that are no masks passed over")
        return f"{self.path}: {self.reading.told}; {', '.join(said)}"

    def needs_other(self, name: str) -> bool:
        """Whether it is read on the grid of the other side: a DICOM segmentation holds the slices with organs alone."""
        return any(sniff(file) == "dicom" for file in self.files[name].values())

    def read(self, name: str, organs: Mapping[int, str], like: ScanMasks | None) -> ScanMasks:
        """Read one scan's masks; ``organs`` names values, ``like`` is the other side, where that was read first.

        Raises:
            InputError: A file is not readable as masks, or the files of a scan differ in shape.
        """
        parts: dict[str, ScanMasks] = {}
        for organ, file in self.files[name].items():
            try:
                parts[organ] = read_file(file, names_of({} if organ else organs), like)
            except InputError as error:
                raise InputError(error.what, where=error.where or str(file), remedy=error.remedy) from None
        if "" in parts and len(parts) == 1:
            return parts[""]
        masks: dict[str, Mask] = {}
        first = next(iter(parts.values()))
        for organ, part in parts.items():
            if part.grid.shape != first.grid.shape:
                raise InputError(f"the masks of {name!r} differ in shape", where=str(self.path))
            if organ and len(part.organs) > 1:
                raise InputError(
                    f"holds {len(part.organs)} labels ({in_words(part.organs)}) and its path names one organ, {organ}",
                    where=str(self.files[name][organ]),
                    remedy="Read each file as a scan of several organs with --layout scan.",
                )
            if organ:
                masks[organ] = np.logical_or.reduce([*part.organs.values(), np.zeros(part.grid.shape, bool)])
            else:
                masks |= part.organs
        return replace(first, organs=masks, exclusive=False, ignore=None)

    def segmentations(self, name: str) -> list[Path]:
        """The DICOM segmentations of a scan."""
        return [file for file in self.files[name].values() if sniff(file) == "dicom"]

    def stacked(self, name: str) -> ScanMasks | None:
        """``None``: files say how large they are."""
        return None


def run_lengths(path: Path, dialect: str | None = None) -> list[Source]:
    """A file of run lengths by its ids; where all ids are slices of scans, as those scans first."""
    from pipeline.formats.rle.lookup import SLICE, RleTable

    table = RleTable(path, dialect)
    stacks: dict[str, int] = {}
    for name in table.ids():
        numbered = SLICE.fullmatch(name)
        if numbered is None:
            return [RunLengths(path, table)]
        stacks[numbered["scan"]] = max(int(numbered["number"]), stacks.get(numbered["scan"], 0))
    return [RunLengths(path, table, stacks), RunLengths(path, table)] if stacks else [RunLengths(path, table)]


class RunLengths:
    """Masks in a file of run lengths, by the ids in it.

    Args:
        path: The file.
        table: Its masks.
        stacks: Scan → its highest slice, where the ids are slices.
    """

    def __init__(self, path: Path, table: RleTable, stacks: Mapping[str, int] | None = None) -> None:
        self.path = path
        self._table = table
        self._stacks = stacks or {}

    def names(self) -> list[str]:
        """Scans in order."""
        return list(self._stacks) or self._table.ids()

    def stacked(self, name: str) -> ScanMasks | None:
        """An empty scan of as many slices as the ids tell; ``None`` where the ids are no slices."""
        if name not in self._stacks:
            return None
        from pipeline.formats.rle.volume import from_pictures

        cells = self._table.cells(name)
        height, width = cells[0].size(self.path)
        x, y, z = from_pictures(np.broadcast_to(False, (self._stacks[name], height, width)), cells[0].axis).shape
        return ScanMasks({}, Grid((x, y, z), FRONTAL_AFFINE.copy()), "px", False, whole=False)

    def organs(self) -> list[str]:
        """None: organs stand in the cells."""
        return []

    def file_names(self) -> dict[str, str]:
        """None: the ids are no files."""
        return {}

    def told(self) -> str:
        """What was taken for scans, in a sentence."""
        return (
            f"{self.path}: {len(self.names())} scans by their ids ({in_words(self.names())}), organs as it names them"
        )

    def segmentations(self, name: str) -> list[Path]:
        """None: the file holds run lengths."""
        return []

    def needs_other(self, name: str) -> bool:
        """Whether the file does not say how large the picture is."""
        if name in self._stacks:
            return True
        return any(cell.height is None and cell.dialect.size is None for cell in self._table.cells(name))

    def read(self, name: str, organs: Mapping[int, str], like: ScanMasks | None) -> ScanMasks:
        """Read one scan's masks, on the grid of the other side where the file does not say its own.

        Raises:
            InputError: The runs are not right, or neither the file nor the other side says how large the scan is.
        """
        cells = self._table.cells(name)
        names = list(dict.fromkeys(cell.organ for cell in cells if cell.organ != IGNORE))
        # Runs count on the grid of the scan's file.
        grid, unit = ((like.stored or like.grid), like.unit) if like is not None else self._grid(cells[0])
        masks = {organ: np.zeros(grid.shape, bool) for organ in names} | self._table.masks(name, names, grid.shape)
        ignore = masks.pop(IGNORE, None)
        # Pictures stay as they are shown; the axes of a volume are those of its affine.
        axes, flips = to_canonical(grid) if grid.shape[2] > 1 else ((0, 1, 2), (False, False, False))
        placed = {organ: permute(mask, axes, flips) for organ, mask in masks.items()}
        left_out = None if ignore is None else permute(ignore, axes, flips)
        return ScanMasks(placed, grid.permuted(axes, flips), unit, False, left_out, stored=grid)

    def _grid(self, cell: Cell) -> tuple[Grid, LengthUnit]:
        """Shape from the size of the slices; place from the affine that our own dialect holds."""
        from pipeline.formats.rle.volume import from_pictures

        height, width = cell.size(self.path)
        x, y, z = from_pictures(np.broadcast_to(False, (cell.depth, height, width)), cell.axis).shape
        entry = self._table.read(cell)
        if entry.affine is None:
            return Grid((x, y, z), FRONTAL_AFFINE.copy()), "px"
        return Grid((x, y, z), entry.affine), "mm" if entry.unit == "mm" else "px"


#: One side of a comparison: scans by name.
Source = Files | RunLengths
