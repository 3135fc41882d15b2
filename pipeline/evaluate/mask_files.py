"""Masks read from single files of any format, without a study that says what their values mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from pipeline.core.errors import DAMAGED_PICTURE, InputError, raise_passing
from pipeline.core.names import plain
from pipeline.core.scan import FRONTAL_AFFINE, Array, Grid
from pipeline.core.study import Ingest
from pipeline.core.units import LengthUnit
from pipeline.evaluate.scan_masks import ScanMasks
from pipeline.evaluate.segmentations import read_named_volume, read_segmentation
from pipeline.formats.label_tables import names_beside
from pipeline.formats.mask_folder import Look, Looker
from pipeline.formats.segnrrd import read_segments
from pipeline.formats.store import read_labels
from pipeline.formats.table import read_scans, sniff
from pipeline.imaging.surfaces import Mask

#: Organ of a mask that names none.
UNNAMED = "mask"
#: More different values than this in a picture are grey borders, not organs.
_MOST_VALUES = 64
_PICTURES = {"png", "jpeg", "tiff", "gif", "bmp"}


@dataclass(frozen=True)
class Names:
    """What the values of label maps are called.

    Attributes:
        organs: Organ → its values; an organ of several values is their union.
        ignore: Value to be left out.
    """

    organs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ignore: int | None = None


def names_of(organs: Mapping[int, str]) -> Names:
    """Names that a user gave: value → organ."""
    return Names({name: (value,) for value, name in organs.items()})


def named_by_tables(path: Path, given: Names, used: set[int]) -> Names:
    """What values are called: by a user, and where there is a table beside the file, by the name in it.

    Names win over numbers: where all names that a user gives stand in a table, its values count.

    Args:
        path: The mask.
        given: A user's names.
        used: Values that occur.

    Raises:
        InputError: Two tables name a value that occurs in two ways.
    """
    table, regions = names_beside(path, used)
    ignore = [value for value, word in table.items() if plain(word) == "ignore"]
    organs: dict[str, tuple[int, ...]] = dict(regions)
    for value, word in table.items():
        if value != 0 and value not in ignore:
            organs[word] = (*organs.get(word, ()), value)
    beside = Names(organs, ignore[0] if ignore else None)
    if not given.organs:
        return beside if used <= {0, *ignore, *(v for values in organs.values() for v in values)} else Names()
    known = {plain(name): values for name, values in organs.items()}
    if all(plain(name) in known for name in given.organs):
        return Names({name: known[plain(name)] for name in given.organs}, beside.ignore)
    return given


def read_file(path: Path, names: Names, like: ScanMasks | None) -> ScanMasks:
    """Read one file of masks.

    Args:
        path: The file.
        names: What its values are called; without names every value is an organ of its own.
        like: The other side, whose grid a DICOM segmentation is laid on.

    Raises:
        InputError: It is no mask, or not readable.
    """
    kind = sniff(path)
    if kind in _PICTURES:
        return _picture(path, names)
    if kind == "dicom":
        return read_segmentation(path, names.organs, like)
    if kind == "nifti" and (own := _own(path)) is not None:
        return own
    readable = [found for found in read_scans(path, None, Ingest()) if found.read is not None]
    if len(readable) != 1 or readable[0].read is None:
        raise InputError(f"is {kind}, not one mask", where=str(path))
    scan = readable[0].read().canonical()
    if kind == "itk" and (segments := read_segments(path, scan.voxels.shape[0])):
        return read_named_volume(scan, segments, names.organs, like)
    if scan.voxels.shape[0] > 1:
        known = {value: name for name, values in names.organs.items() for value in values}
        channels = {known.get(i, str(i)): channel > 0.5 for i, channel in enumerate(scan.voxels, 1)}
        return ScanMasks(channels, scan.grid, scan.unit, False, stored=scan.stored)
    unit: LengthUnit = "px" if kind == "nifti" and scan.is_flat and _says_no_spacing(path) else scan.unit
    return replace(
        _by_values(scan.voxels[0], names, path, scan.grid, unit), located=scan.unit == "mm", stored=scan.stored
    )


def _says_no_spacing(path: Path) -> bool:
    """Whether a NIfTI names no unit and a spacing of 1, as pictures of unknown spacing are written."""
    import nibabel as nib

    header = nib.Nifti1Image.from_filename(path).header
    return header.get_xyzt_units()[0] == "unknown" and bool(np.allclose(header.get_zooms()[:2], 1))


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


def _picture(path: Path, names: Names) -> ScanMasks:
    from pipeline.formats.pictures.masks import one_organ, read_mask_samples
    from pipeline.formats.pictures.reader import grey

    pixels = read_mask_samples(path, Ingest())
    plain, how = grey(pixels)
    grid = Grid((pixels.shape[1], pixels.shape[0], 1), FRONTAL_AFFINE.copy())
    if how.startswith("luma"):
        return ScanMasks(_by_colour(pixels[..., :3], path), grid, "px", True)
    data = np.ascontiguousarray(plain[..., 0].T[..., None])
    values = np.unique(data)
    if len(values) > _MOST_VALUES or (len(names.organs) <= 1 and len(values) > 2 and 250 <= values[-1] <= 255):
        return ScanMasks({next(iter(names.organs), UNNAMED): one_organ(data, Ingest())}, grid, "px", True)
    return _by_values(data, names, path, grid, "px")


def _by_values(data: Array, names: Names, path: Path, grid: Grid, unit: LengthUnit) -> ScanMasks:
    from pipeline.formats.pictures.masks import whole_numbers

    whole = whole_numbers(data)
    inside = [int(value) for value in np.unique(whole) if value != 0]
    given = bool(names.organs)
    names = named_by_tables(path, names, set(inside))
    if names.organs:
        exclusive = len({v for values in names.organs.values() for v in values}) == sum(map(len, names.organs.values()))
        masks = {name: np.isin(whole, values) for name, values in names.organs.items()}
        ignore = None if names.ignore is None else whole == names.ignore
        return ScanMasks(masks, grid, unit, exclusive, ignore, values={} if given else names.organs)
    if len(inside) > 4 * _MOST_VALUES:
        raise InputError(f"holds {len(inside)} different values: it is an image, not a mask", where=str(path))
    masks = {UNNAMED if inside == [255] else str(value): whole == value for value in inside}
    return ScanMasks(masks, grid, unit, True)


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


def looker() -> Looker:
    """Opens files, each once as long as it is kept."""
    return lru_cache(maxsize=None)(look)


def look(path: Path, content: bool) -> Look:
    """What a file of a folder holds: its grid, and where ``content`` is set, one organ, several labels or an image."""
    kind = sniff(path)
    try:
        if kind == "dicom":
            from pipeline.formats.dicom.image import read_instance

            modality = read_instance(path, Ingest()).modality
            return Look("labels" if modality in {"SEG", "RTSTRUCT"} else "image")
        if kind in _PICTURES:
            return _picture_look(path, content)
        if kind == "nifti":
            return _volume_look(path, content)
        if not content:
            return Look("unknown")
        readable = [found.read for found in read_scans(path, None, Ingest()) if found.read is not None]
        return _values_look(readable[0]().voxels, Look("unknown")) if len(readable) == 1 else Look("unknown")
    except InputError:
        # A file that cannot be read is named when its scan is measured.
        return Look("unknown")


def _picture_look(path: Path, content: bool) -> Look:
    from PIL import Image

    from pipeline.formats.pictures.masks import read_mask_samples
    from pipeline.formats.pictures.reader import grey

    try:
        with Image.open(path) as picture:
            grid = picture.size
    except DAMAGED_PICTURE:
        return Look("unknown")
    if not content:
        return Look("unknown", grid)
    plain, how = grey(read_mask_samples(path, Ingest()))
    return Look("labels" if how.startswith("luma") else _values_look(plain, Look("unknown")).kind, grid)


def _volume_look(path: Path, content: bool) -> Look:
    import nibabel as nib

    try:
        image = nib.Nifti1Image.from_filename(path)
    except Exception as error:  # nibabel raises many kinds for damaged headers
        raise_passing(error)
        return Look("unknown")
    place = tuple(np.round(np.asarray(image.affine), 3).ravel().tolist())
    seen = Look("unknown", (image.shape, place), bool(image.header["qform_code"] or image.header["sform_code"]))
    if not content:
        return seen
    readable = [found.read for found in read_scans(path, None, Ingest()) if found.read is not None]
    return _values_look(readable[0]().voxels, seen) if len(readable) == 1 else seen


def _values_look(voxels: Array, seen: Look) -> Look:
    """The look of a file by its values: an image has many, or fractions; borders of JPEG lie near the two ends."""
    values, counts = np.unique(voxels, return_counts=True)
    if len(values) <= 2:
        return replace(seen, kind="one")
    top = float(values[-1])
    if len(values) > _MOST_VALUES or (values != np.rint(values)).any():
        between = counts[(values > 0.15 * top) & (values < 0.85 * top)].sum()
        return replace(seen, kind="image" if between > 0.05 * counts.sum() else "one")
    return replace(seen, kind="labels")
