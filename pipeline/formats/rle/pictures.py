"""Masks of a file ↔ pictures and volumes in a folder: PNG for pictures, NIfTI for volumes, one file an organ."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.files import whole_file
from pipeline.core.labels import LabelMap
from pipeline.core.scan import FRONTAL_AFFINE
from pipeline.formats.rle.cell import UNNAMED, Cell, Size
from pipeline.formats.rle.cells import Progress
from pipeline.formats.rle.entries import EntryReader
from pipeline.formats.rle.runs import Mask
from pipeline.formats.rle.table import check_sum
from pipeline.formats.rle.volume import Entry, from_pictures, stack_of, to_pictures

_JOINT = "__"
_LONGEST_NAME = 180
_VOLUMES = (".nii", ".nii.gz")
_PICTURES = (".png", ".tif", ".tiff", ".bmp")


def file_name(scan_id: str, organ: str) -> str:
    """``<id>__<organ>`` as one part of a path: whatever is no letter, digit, dot, hyphen or underscore is escaped.

    Slashes, a leading dot and letters beyond ASCII become ``%2F`` and the like, as in web addresses, so that no id
    leads out of a folder and no two ids share a file. Names too long for a file system end in a checksum.
    """
    name = quote(scan_id, safe=" ,=+@()") + _JOINT + quote(organ, safe=" ,=+@()")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > _LONGEST_NAME:
        name = name[: _LONGEST_NAME - 17] + "~" + hashlib.sha256(name.encode()).hexdigest()[:16]
    return name


def unpack(cells: Iterable[Cell], reader: EntryReader, path: str | Path, folder: Path) -> Iterator[Path]:
    """Write the masks of a file into a folder, as it is read.

    Rows of one image and organ are united. Where they do not follow each other, the file that was written is read
    again, so that memory does not grow with the number of images.

    Args:
        cells: Masks of the file.
        reader: How they are decoded.
        path: The file, for messages.
        folder: Folder to write to.

    Yields:
        Each file when it is written for the first time.

    Raises:
        InputError: A cell cannot be decoded, its checksum differs, or masks of one image differ in size.
    """
    written: set[str] = set()
    for _, group in groupby(cells, key=lambda cell: cell.scan_id):
        volumes: dict[str, tuple[Entry, Mask]] = {}
        for cell in group:
            entry = reader.read(cell)
            _collect(volumes, entry, cell, path)
        for organ, (entry, mask) in volumes.items():
            name = file_name(entry.scan_id, organ)
            suffix = ".png" if mask.shape[2] == 1 else ".nii.gz"
            target = folder / (name + suffix)
            if name in written:
                mask = mask | (read_mask_file(target)[0] != 0)
            _write(target, mask, entry)
            if name not in written:
                written.add(name)
                yield target


def _collect(volumes: dict[str, tuple[Entry, Mask]], entry: Entry, cell: Cell, path: str | Path) -> None:
    stack = stack_of(entry.runs, entry.axis, entry.depth)
    check_sum(cell, stack, path)
    if entry.organ not in volumes:
        shape = np.empty((entry.depth, *entry.picture_size), np.bool_)
        volumes[entry.organ] = entry, np.zeros(from_pictures(shape, entry.axis).shape, np.bool_)
    pictures = to_pictures(volumes[entry.organ][1], entry.axis)
    if pictures.shape != (entry.depth, *entry.picture_size):
        raise InputError(
            f"is {entry.depth}×{entry.picture_size[0]}×{entry.picture_size[1]}, other rows of this image and organ "
            f"are {'×'.join(str(side) for side in pictures.shape)}",
            where=cell.where(path),
        )
    if entry.axis == "volume":
        pictures |= stack
    else:
        pictures[entry.index] |= stack[0]


def _write(target: Path, mask: Mask, entry: Entry) -> None:
    if mask.shape[2] == 1:
        from PIL import Image

        with whole_file(target) as part:
            Image.fromarray(mask[:, :, 0].T.astype(np.uint8) * 255).save(part, format="PNG", compress_level=1)
        return
    import nibabel

    affine = entry.affine if entry.affine is not None else np.diag([*(entry.spacing or (1.0, 1.0, 1.0)), 1.0])
    image = nibabel.Nifti1Image(mask.astype(np.uint8), affine)
    image.header.set_xyzt_units("mm" if entry.unit == "mm" else "unknown")
    with whole_file(target) as part:
        image.to_filename(part)


def read_mask_file(path: Path) -> tuple[NDArray[np.generic], NDArray[np.float64], str]:
    """A mask picture or volume.

    Returns:
        ``(X, Y, Z)`` values as stored (one channel), the 4×4 affine, and the unit of its spacing.

    Raises:
        InputError: It is not readable, has colours, or has more than three axes.
    """
    name = path.name.lower()
    try:
        if name.endswith(_VOLUMES):
            import nibabel

            image = nibabel.Nifti1Image.from_filename(path)
            data = np.asarray(image.dataobj)
            data = data[..., 0] if data.ndim == 4 and data.shape[3] == 1 else data
            if data.ndim != 3:
                raise InputError(f"has {data.ndim} axes, not 3", where=str(path))
            unit = "mm" if image.header.get_xyzt_units()[0] == "mm" else "px"
            return data, np.asarray(image.affine, float), unit
        from PIL import Image

        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("L") if picture.mode == "1" else picture)
    except FileNotFoundError:
        raise InputError("the file does not exist", where=str(path)) from None
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise InputError(f"is not readable as a mask ({type(error).__name__})", where=str(path)) from None
    if pixels.ndim != 2:
        raise InputError("has colours", where=str(path), remedy="A mask has one channel: 0 and 255, or organ values.")
    return pixels.T[:, :, None], FRONTAL_AFFINE.copy(), "px"


def mask_files(paths: Sequence[Path]) -> list[Path]:
    """The mask files among files and folders, in order of their names.

    Raises:
        InputError: A path is absent, or there is no mask file.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.is_file() and p.name.lower().endswith(_VOLUMES + _PICTURES))
        elif path.is_file():
            found.append(path)
        else:
            raise InputError("the file does not exist", where=str(path))
    if not found:
        raise InputError("there is no mask", where=", ".join(str(path) for path in paths), remedy="PNG or NIfTI.")
    return found


def organs_of(paths: Sequence[Path], names: Mapping[int, str]) -> list[str]:
    """Organs that files are named after, and those that ``names`` gives to values."""
    return list(dict.fromkeys([*names.values(), *(organ for path in paths if (organ := _names(path)[1]))]))


def pack(
    paths: Sequence[Path], names: Mapping[int, str], *, progress: Progress | None = None
) -> Iterator[tuple[str, LabelMap, str]]:
    """Mask files as label maps, files ``<id>__<organ>`` of one image together.

    Args:
        paths: Files; the name of each before ``__`` is its image, what follows is its organ.
        names: Value → organ of index images and label volumes; without it a file of 0 and one other value is a mask
            of one organ, and other values are organs named ``1``, ``2``, ….
        progress: Takes the share of the files that were read.

    Raises:
        InputError: A file is not readable, holds values that are not whole numbers or organs, or files of one image
            differ in shape.
    """
    ordered = sorted(paths, key=lambda path: _names(path)[0])
    done = 0
    for scan_id, group in groupby(ordered, key=lambda path: _names(path)[0]):
        masks: dict[str, Mask] = {}
        affine, unit = np.eye(4), "px"
        for path in group:
            data, affine, unit = read_mask_file(path)
            for organ, mask in _organs(path, data, names).items():
                if masks and next(iter(masks.values())).shape != mask.shape:
                    raise InputError(f"is {mask.shape}, other masks of {scan_id!r} are not", where=str(path))
                if organ in masks:
                    raise InputError(f"{scan_id!r} has two masks of {organ!r}", where=str(path))
                masks[organ] = mask
            done += 1
            if progress is not None:
                progress(done / len(ordered))
        yield scan_id, LabelMap.from_masks(masks, affine, list(masks), overlapping=True), unit


def _names(path: Path) -> tuple[str, str]:
    stem = re.sub(r"(\.nii)?\.[A-Za-z]+$", "", path.name, flags=re.IGNORECASE)
    scan_id, _, organ = stem.rpartition(_JOINT)
    return (unquote(scan_id), unquote(organ)) if scan_id else (unquote(stem), "")


def _organs(path: Path, data: NDArray[np.generic], names: Mapping[int, str]) -> dict[str, Mask]:
    values = np.unique(data)
    if not np.array_equal(values, np.round(values.astype(float))):
        raise InputError("holds values that are not whole numbers", where=str(path))
    inside = [int(value) for value in values if value != 0]
    organ = _names(path)[1]
    if names:
        unknown = sorted(set(inside) - set(names))
        if unknown:
            raise InputError(f"holds {unknown[0]}, which names no organ", where=str(path), remedy="See --organs.")
        return {name: data == value for value, name in names.items()}
    if len(inside) <= 1:
        return {organ or UNNAMED: data != 0}
    if len(inside) > 63 or organ:
        raise InputError(
            f"holds {len(inside)} values, not one organ's mask",
            where=str(path),
            remedy="Save masks without smoothing (PNG or NIfTI, not JPEG), or name the values with --organs.",
        )
    return {str(value): data == value for value in inside}


def picture_sizes(folder: Path) -> tuple[dict[str, Size], dict[str, Path]]:
    """Sizes and paths of the pictures in a folder, by file name and by name without suffix; only headers are read.

    Raises:
        InputError: The folder holds no picture.
    """
    from PIL import Image, UnidentifiedImageError

    sizes: dict[str, Size] = {}
    paths: dict[str, Path] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            with Image.open(path) as picture:
                width, height = picture.size
        except (UnidentifiedImageError, OSError):
            continue
        for key in (path.relative_to(folder).as_posix(), path.name, path.stem):
            sizes.setdefault(key, (height, width))
            paths.setdefault(key, path)
    if not sizes:
        raise InputError("there is no picture", where=str(folder))
    return sizes, paths
