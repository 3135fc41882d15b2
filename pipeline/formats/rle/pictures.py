"""Masks of a file ↔ pictures and volumes in a folder: PNG for pictures, NIfTI for volumes, one file an organ."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DAMAGED_PICTURE, InputError
from pipeline.core.files import write_bytes
from pipeline.core.limits import check_size
from pipeline.core.scan import FRONTAL_AFFINE
from pipeline.core.study import Ingest
from pipeline.formats.nifti.writer import write_nifti
from pipeline.formats.pictures.png import GREY, assembled
from pipeline.formats.rle.cell import UNNAMED, Cell
from pipeline.formats.rle.cells import Progress
from pipeline.formats.rle.edges import Mask
from pipeline.formats.rle.entries import EntryReader
from pipeline.formats.rle.runs import Order, Runs
from pipeline.formats.rle.volume import Entry, from_pictures, mask_entries

_JOINT = "__"
_LONGEST_NAME = 180
#: Files that are written at once; disks sync several in the time of one.
_AT_ONCE = 16
#: A mask of more bytes waits until the files before it are written.
_LARGE = 1 << 24
#: ISA-L's level for one long string of two values: the smallest files, in a fifth of a millisecond for 1024².
_PNG_LEVEL = 1
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


def unpack(reader: EntryReader, folder: Path) -> Iterator[Path]:
    """Write the masks of a file into a folder, as it is read.

    Rows of one image and organ are united. Where they do not follow each other, the file that was written is read
    again, so that memory does not grow with the number of images.

    Args:
        reader: The file.
        folder: Folder to write to.

    Yields:
        Each file once; all of them are written when the last was given.

    Raises:
        InputError: A cell cannot be decoded, its checksum differs, or masks of one image differ in size.
    """
    # Hashes rather than names: a million names would take the memory that streaming saves.
    written: set[int] = set()
    with _Files() as files:
        for scan_id, group in groupby(reader.entries(), key=lambda pair: pair[0].scan_id):
            organs: dict[str, list[Entry]] = {}
            for cell, entry in group:
                _collect(organs, entry, cell, reader.path)
            for organ, entries in organs.items():
                name = file_name(scan_id, organ)
                flat = entries[0].depth == 1
                _check_size(entries[0], reader.path)
                target = folder / (name + (".png" if flat else ".nii.gz"))
                mask = Runs.gather([entry.runs for entry in entries]).united().paint() if flat else _volume(entries)
                again = hash(name) in written
                if again:
                    files.wait()
                    mask |= _written(target, mask.shape, f"{reader.path}, image {scan_id!r}, organ {organ!r}")
                if flat:
                    files.start(write_bytes, target, _png(mask))
                else:
                    affine, unit = _place(entries[0])
                    if mask.nbytes > _LARGE:
                        files.wait()
                    files.start(write_nifti, target, mask.view(np.uint8), affine, unit)
                if not again:
                    written.add(hash(name))
                    yield target


def _check_size(entry: Entry, path: str | Path) -> None:
    """Refuse a picture or volume that reading a scan would refuse too.

    Raises:
        InputError: It takes too much memory.
    """
    try:
        check_size((entry.depth, *entry.picture_size), 1, Ingest(), what="the row")
    except InputError as error:
        raise InputError(error.what, where=f"{path}, image {entry.scan_id!r}") from None


def _png(mask: Mask) -> bytes:
    """A ``(height, width)`` picture as a greyscale PNG file of 0 and 255, by the PNG specification (ISO/IEC 15948).

    Packed by ISA-L, it takes a fortieth of the time that Pillow takes.
    """
    height, width = mask.shape
    # Every row begins with the number of its filter: 0, none.
    rows = np.zeros((height, width + 1), np.uint8)
    np.multiply(mask.view(np.uint8), 255, out=rows[:, 1:])
    return assembled(rows, width, GREY, _PNG_LEVEL)


def _written(target: Path, shape: tuple[int, ...], where: str) -> Mask:
    """The mask that earlier rows of an image and organ were written as."""
    if target.is_file():
        before = read_mask_file(target)[0] != 0
        before = before[:, :, 0].T if target.suffix == ".png" else before
        if before.shape == shape:
            return before
    raise InputError("rows of this image and organ differ in size", where=where)


class _Files:
    """Writes many small files, some at a time: most of what that takes is waiting for the disk."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_AT_ONCE)
        self._pending: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            self._threads.shutdown()

    def start(self, write: Callable[..., None], *arguments: object) -> None:
        """Let a file be written soon, whole or not at all."""
        self._pending.append(self._threads.submit(write, *arguments))
        while len(self._pending) > 2 * _AT_ONCE:
            self._pending.popleft().result()

    def wait(self) -> None:
        """Wait until all files are written."""
        while self._pending:
            self._pending.popleft().result()


def _collect(organs: dict[str, list[Entry]], entry: Entry, cell: Cell, path: str | Path) -> None:
    entries = organs.setdefault(entry.organ, [])
    if entries:
        before, here = ((one.depth, *one.picture_size) for one in (entries[0], entry))
        if before != here or entries[0].axis != entry.axis:
            raise InputError(
                f"is {'×'.join(map(str, here))} along {entry.axis}, other rows of this image and organ are "
                f"{'×'.join(map(str, before))} along {entries[0].axis}",
                where=cell.where(path),
            )
    entries.append(entry)


def _volume(entries: list[Entry]) -> Mask:
    """``(X, Y, Z)`` voxels of all slices of one organ."""
    head = entries[0]
    pictures = np.zeros((head.depth, *head.picture_size), np.bool_)
    for entry in entries:
        entry.add_to(pictures)
    return from_pictures(pictures, head.axis)


def _place(entry: Entry) -> tuple[NDArray[np.float64], Literal["mm", "px"]]:
    """Affine of a volume, one of its spacing alone where there is no other, and its unit."""
    affine = entry.affine if entry.affine is not None else np.diag([*(entry.spacing or (1.0, 1.0, 1.0)), 1.0])
    return affine, "mm" if entry.unit == "mm" else "px"


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
            image = _opened(path)
            check_size(image.shape, image.get_data_dtype().itemsize, Ingest())
            data = np.asarray(image.dataobj)
            data = data[..., 0] if data.ndim == 4 and data.shape[3] == 1 else data
            if data.ndim != 3:
                raise InputError(f"has {data.ndim} axes, not 3", where=str(path))
            unit = "mm" if image.header.get_xyzt_units()[0] == "mm" else "px"
            return data, np.asarray(image.affine, float), unit
        from PIL import Image

        with Image.open(path) as picture:
            check_size((*picture.size, len(picture.getbands())), 1, Ingest())
            pixels = np.asarray(picture.convert("L") if picture.mode == "1" else picture)
    except FileNotFoundError:
        raise InputError("the file does not exist", where=str(path)) from None
    except (*DAMAGED_PICTURE, zlib.error) as error:
        raise InputError(f"is not readable as a mask ({type(error).__name__})", where=str(path)) from None
    if pixels.ndim != 2:
        raise InputError("has colours", where=str(path), remedy="A mask has one channel: 0 and 255, or organ values.")
    return pixels.T[:, :, None], FRONTAL_AFFINE.copy(), "px"


def _opened(path: Path) -> Any:
    """A NIfTI file, its voxels not yet read.

    Raises:
        ValueError: It is none.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    try:
        return nibabel.Nifti1Image.from_filename(path)
    except (ImageFileError, HeaderDataError, WrapStructError) as error:
        raise ValueError(str(error)) from None


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


def file_entries(
    paths: Sequence[Path],
    names: Mapping[int, str],
    order: Order,
    axis: str = "z",
    *,
    every_slice: bool = False,
    progress: Progress | None = None,
) -> Iterator[Entry]:
    """Masks in files as entries, files ``<id>__<organ>`` of one image together.

    Args:
        paths: Files; the name of each before ``__`` is its image, what follows is its organ.
        names: Value → organ of index images and label volumes; without it a file of 0 and one other value is a mask
            of one organ, and other values are organs named ``1``, ``2``, ….
        order: Flat order of the runs.
        axis: Array axis to slice volumes along, or ``volume``.
        every_slice: Give slices without a pixel too.
        progress: Takes the share of the files that were read.

    Raises:
        InputError: A file is not readable, holds values that are not whole numbers or organs, or files of one image
            differ in shape or place.
    """
    ordered = sorted(paths, key=lambda path: _names(path)[0])
    done = 0
    for scan_id, group in groupby(ordered, key=lambda path: _names(path)[0]):
        masks: dict[str, Mask] = {}
        affine, unit = np.eye(4), "px"
        for path in group:
            data, here, unit = read_mask_file(path)
            if masks and not np.allclose(here, affine, atol=1e-3):
                raise InputError(f"lies elsewhere than other masks of {scan_id!r}", where=str(path))
            affine = here
            for organ, mask in _organs(path, data, names).items():
                if masks and next(iter(masks.values())).shape != mask.shape:
                    raise InputError(f"is {mask.shape}, other masks of {scan_id!r} are not", where=str(path))
                if organ in masks:
                    raise InputError(f"{scan_id!r} has two masks of {organ!r}", where=str(path))
                masks[organ] = mask
            done += 1
            if progress is not None:
                progress(done / len(ordered))
        yield from mask_entries(scan_id, masks, affine, unit, order, axis, every_slice=every_slice)


def _names(path: Path) -> tuple[str, str]:
    stem = re.sub(r"(\.nii)?\.[A-Za-z]+$", "", path.name, flags=re.IGNORECASE)
    scan_id, _, organ = stem.rpartition(_JOINT)
    return (unquote(scan_id), unquote(organ)) if scan_id else (unquote(stem), "")


def _organs(path: Path, data: NDArray[np.generic], names: Mapping[int, str]) -> dict[str, Mask]:
    values = _values(data)
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


def _values(data: NDArray[np.generic]) -> NDArray[np.generic]:
    """The values of a picture, ascending; seen at a glance where they are 0 and one other, as in most masks."""
    if data.size and np.issubdtype(data.dtype, np.unsignedinteger):
        ends = np.unique([data.min(), data.max()])
        if ((data == ends[0]) | (data == ends[-1])).all():
            return ends
    return np.unique(data)
