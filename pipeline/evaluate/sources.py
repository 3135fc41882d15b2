"""Masks to compare without a study: single files, folders of files, and files of run lengths, in any format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.labels import IGNORE
from pipeline.core.scan import FRONTAL_AFFINE, Array, Grid, Scan, permute, to_canonical
from pipeline.core.study import Ingest, Organ
from pipeline.core.units import LengthUnit
from pipeline.formats.store import read_labels
from pipeline.formats.table import read_scans, sniff
from pipeline.imaging.surfaces import Mask

if TYPE_CHECKING:
    from pipeline.formats.rle.cells import Cell

#: Organ of a mask that names none.
UNNAMED = "mask"
#: More different values than this in a picture are grey borders, not organs.
_MOST_VALUES = 64
_SUFFIX = re.compile(r"(\.nii|\.seg)?\.(nii\.gz|gz|nii|nrrd|mha|mhd|png|jpe?g|tiff?|dcm|img|hdr)$", re.IGNORECASE)
_PICTURES = {"png", "jpeg", "tiff"}


@dataclass(frozen=True)
class ScanMasks:
    """What one side of a comparison holds of one scan.

    Attributes:
        organs: Organ → ``(X, Y, Z)`` mask. Organs that the file only numbers go by their number as text.
        grid: Shape and place, in canonical orientation.
        unit: LengthUnit of the grid's spacing.
        exclusive: Whether no voxel can belong to two organs.
        ignore: Voxels that the file marks to be left out.
    """

    organs: dict[str, Mask]
    grid: Grid
    unit: LengthUnit
    exclusive: bool
    ignore: Mask | None = None

    @property
    def placed(self) -> bool:
        """Whether the file says where the voxels lie."""
        return self.unit == "mm"


def open_source(path: Path, dialect: str | None = None) -> Source:
    """One side of a comparison.

    Args:
        path: File or folder.
        dialect: Dialect of a file of run lengths that does not name its own.

    Raises:
        InputError: Nothing is there, or it holds no masks.
    """
    if not path.exists():
        raise InputError("the file does not exist", where=str(path))
    if path.is_dir():
        return _folder(path)
    if sniff(path) == "text" or path.suffix.lower() == ".parquet":
        return RunLengths(path, dialect)
    return Files(path, {stem(path): {"": path}})


def stem(path: Path) -> str:
    """File name without the suffixes of its format."""
    return _SUFFIX.sub("", path.name) or path.name


def _folder(path: Path) -> Files:
    """Files by name; ``<scan>__<organ>`` and folders of organs are gathered into scans."""
    files: dict[str, dict[str, Path]] = {}
    found = sorted(p for p in path.rglob("*") if p.is_file() and _SUFFIX.search(p.name) and not p.name.startswith("."))
    nested = bool(found) and all(p.parent.parent == path for p in found) and len({p.parent for p in found}) > 1
    shared = nested and len({stem(p) for p in found}) < len(found)
    for file in found:
        name, _, organ = stem(file).partition("__")
        organ = file.parent.name if shared else organ
        if organ in files.setdefault(name, {}):
            raise InputError(
                f"two files are named {name!r}", where=str(path), remedy="Give one folder of masks, one file a scan."
            )
        files[name][organ] = file
    if not files:
        raise InputError(
            "holds no masks", where=str(path), remedy="NIfTI, NRRD, PNG, JPEG, TIFF and DICOM SEG are read."
        )
    return Files(path, files)


@dataclass(frozen=True)
class Files:
    """Masks in files, one or several a scan.

    Attributes:
        path: What the user named.
        files: Scan → organ → file; an organ without a name means all organs of the file.
    """

    path: Path
    files: Mapping[str, Mapping[str, Path]]

    def names(self) -> list[str]:
        """Scans in order."""
        return list(self.files)

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
                parts[organ] = _read_file(file, {} if organ else organs, like)
            except InputError as error:
                raise InputError(error.what, where=error.where or str(file), remedy=error.remedy) from None
        if "" in parts and len(parts) == 1:
            return parts[""]
        masks: dict[str, Mask] = {}
        first = next(iter(parts.values()))
        for organ, part in parts.items():
            if part.grid.shape != first.grid.shape:
                raise InputError(f"the masks of {name!r} differ in shape", where=str(self.path))
            if organ:
                masks[organ] = np.logical_or.reduce([*part.organs.values(), np.zeros(part.grid.shape, bool)])
            else:
                masks |= part.organs
        return ScanMasks(masks, first.grid, first.unit, False)


def _read_file(path: Path, organs: Mapping[int, str], like: ScanMasks | None) -> ScanMasks:
    kind = sniff(path)
    if kind in _PICTURES:
        return _picture(path, organs)
    if kind == "dicom":
        return _segmentation(path, organs, like)
    if kind == "nifti" and (own := _own(path)) is not None:
        return own
    readable = [found for found in read_scans(path, None, Ingest()) if found.read is not None]
    if len(readable) != 1 or readable[0].read is None:
        raise InputError(f"is {kind}, not one mask", where=str(path))
    scan = readable[0].read().canonical()
    if scan.voxels.shape[0] > 1:
        channels = {organs.get(i, str(i)): channel > 0.5 for i, channel in enumerate(scan.voxels, 1)}
        return ScanMasks(channels, scan.grid, scan.unit, False)
    return ScanMasks(_by_values(scan.voxels[0], organs, path), scan.grid, scan.unit, True)


def _own(path: Path) -> ScanMasks | None:
    """A label map that this program stored: it names its organs itself."""
    import nibabel as nib

    try:
        labels = read_labels(path)
    except InputError:
        return None
    unit: LengthUnit = "mm" if nib.Nifti1Image.from_filename(path).header.get_xyzt_units()[0] == "mm" else "px"
    masks = {organ: labels.mask(organ) for organ in labels.organs if organ in labels.annotated}
    ignore = labels.ignored()
    return ScanMasks(masks, labels.grid, unit, not labels.overlapping, ignore if ignore.any() else None)


def _picture(path: Path, organs: Mapping[int, str]) -> ScanMasks:
    from pipeline.formats.pictures.masks import one_organ
    from pipeline.formats.pictures.reader import grey, read_pixels

    pixels = read_pixels(path, Ingest(), palette_as_index=True)
    plain, how = grey(pixels)
    grid = Grid((pixels.shape[1], pixels.shape[0], 1), FRONTAL_AFFINE.copy())
    if how.startswith("luma"):
        return ScanMasks(_by_colour(pixels[..., :3], path), grid, "px", True)
    data = np.ascontiguousarray(plain[..., 0].T[..., None])
    values = np.unique(data)
    if len(values) > _MOST_VALUES or (len(organs) <= 1 and len(values) > 2 and 250 <= values[-1] <= 255):
        return ScanMasks({next(iter(organs.values()), UNNAMED): one_organ(data, Ingest())}, grid, "px", True)
    return ScanMasks(_by_values(data, organs, path), grid, "px", True)


def _by_values(data: Array, organs: Mapping[int, str], path: Path) -> dict[str, Mask]:
    from pipeline.formats.pictures.masks import whole_numbers

    whole = whole_numbers(data)
    if organs:
        return {name: whole == value for value, name in organs.items()}
    inside = [int(value) for value in np.unique(whole) if value != 0]
    if len(inside) > 4 * _MOST_VALUES:
        raise InputError(f"holds {len(inside)} different values: it is an image, not a mask", where=str(path))
    return {UNNAMED if inside == [255] else str(value): whole == value for value in inside}


def _by_colour(pixels: Array, path: Path) -> dict[str, Mask]:
    flat, inverse = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    if len(flat) > _MOST_VALUES:
        raise InputError(
            f"holds {len(flat)} different colours: it is a picture, not a mask",
            where=str(path),
            remedy="Save colour masks without smoothing, as PNG.",
        )
    where = inverse.reshape(pixels.shape[:2]).T[..., None]
    names = ["#" + "".join(f"{int(part):02x}" for part in colour) for colour in flat]
    return {name: where == index for index, name in enumerate(names) if name != "#000000"}


def _segmentation(path: Path, organs: Mapping[int, str], like: ScanMasks | None) -> ScanMasks:
    from pipeline.formats.dicom.seg_reader import read_seg

    if like is None:
        raise InputError(
            "a DICOM segmentation does not hold the whole grid",
            where=str(path),
            remedy="Compare it with a label volume, or export both as NIfTI.",
        )
    scan = Scan(np.zeros((1, *like.grid.shape), np.uint8), like.grid.affine, "mri")
    given: dict[str, Organ] = {name: Organ(value=value) for value, name in organs.items()}
    # Organs that the other side only numbers are segments of that number; others are matched by name.
    named = given or {name: Organ(value=int(name)) if name.isdecimal() else Organ() for name in like.organs}
    masks = read_seg(path, scan, named, Ingest())
    return ScanMasks({name: masks.get(name, np.zeros(scan.shape, bool)) for name in named}, scan.grid, like.unit, False)


class RunLengths:
    """Masks in a file of run lengths, by the ids in it."""

    def __init__(self, path: Path, dialect: str | None = None) -> None:
        from pipeline.formats.rle.lookup import RleTable

        self.path = path
        self._table = RleTable(path, dialect)

    def names(self) -> list[str]:
        """Scans in order."""
        return self._table.ids()

    def needs_other(self, name: str) -> bool:
        """Whether the file does not say how large the picture is."""
        return any(cell.height is None and cell.dialect.size is None for cell in self._table.cells(name))

    def read(self, name: str, organs: Mapping[int, str], like: ScanMasks | None) -> ScanMasks:
        """Read one scan's masks, on the grid of the other side where the file does not say its own.

        Raises:
            InputError: The runs are not right, or neither the file nor the other side says how large the scan is.
        """
        cells = self._table.cells(name)
        names = list(dict.fromkeys(cell.organ for cell in cells if cell.organ != IGNORE))
        grid, unit = (like.grid, like.unit) if like is not None else self._grid(cells[0])
        masks = {organ: np.zeros(grid.shape, bool) for organ in names} | self._table.masks(name, names, grid.shape)
        ignore = masks.pop(IGNORE, None)
        # Pictures stay as they are shown; the axes of a volume are those of its affine.
        axes, flips = to_canonical(grid) if like is None and grid.shape[2] > 1 else ((0, 1, 2), (False, False, False))
        placed = {organ: permute(mask, axes, flips) for organ, mask in masks.items()}
        turned = None if ignore is None else permute(ignore, axes, flips)
        return ScanMasks(placed, grid.permuted(axes, flips), unit, False, turned)

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
