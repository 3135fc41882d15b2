"""The table of formats: what a file is, by its content, and the reader that turns it into scans."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.files import OddFileError, check_regular
from pipeline.core.scan import Modality, Scan
from pipeline.core.study import Ingest
from pipeline.formats.found import UNOPENED, Found

_PICTURES = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"II*\0": "tiff", b"MM\0*": "tiff", b"GIF8": "gif"}
#: Sizes of the header that follows a BMP's first 14 bytes.
_BMP_HEADERS = {12, 40, 52, 56, 64, 108, 124}
_OTHER = {
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive",
    b"\x89HDF": "an HDF5 file",
    b"7z\xbc\xaf": "a 7z archive",
    b"RIFF": "a RIFF file",
}
#: Endings of image files' names.
IMAGE_ENDINGS = (
    ".nii.gz",
    ".nii",
    ".nrrd",
    ".mha",
    ".mhd",
    ".png",
    ".jpg",
    ".jpeg",
    ".tif",
    ".tiff",
    ".gif",
    ".bmp",
    ".dcm",
    ".dicom",
)
#: What a file that should be an image is when it was cut short or not written.
_BROKEN = {"empty", "a gzip file that holds no NIfTI", "a file of unknown kind"}
#: A MetaImage header is lines of ``Key = value``.
_METAIMAGE = re.compile(rb"\s*[A-Za-z_]+ *=")
_VR = {
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"OB", b"OW", b"PN", b"SH",
    b"SL", b"SQ", b"SS", b"ST", b"TM", b"UI", b"UL", b"UN", b"US", b"UT",
}  # fmt: skip


def sniff(path: Path) -> str:
    """What a file is, by its first bytes.

    Returns:
        ``dicom``, ``nifti``, ``itk``, ``png``, ``jpeg``, ``tiff``, ``gif``, ``bmp``, ``text``, ``parquet``, ``empty``,
        or what else it is, in words.

    Raises:
        InputError: It cannot be opened.
    """
    check_regular(path)
    try:
        with open(path, "rb") as stream:
            head = stream.read(4096)
    except OSError as error:
        raise InputError(f"cannot be opened ({error.strerror})", where=str(path)) from None
    if not head:
        return "empty"
    if head[:2] == b"\x1f\x8b":
        inner = _unpacked(path)
        if _is_nifti(inner):
            return "nifti"
        return "text" if inner and b"\0" not in inner else "a gzip file that holds no NIfTI"
    if head[:4] == b"PAR1":
        return "parquet"
    return _kind(head)


def _kind(head: bytes) -> str:
    if head[128:132] == b"DICM":
        return "dicom"
    for magic, name in _PICTURES.items():
        if head.startswith(magic):
            return name
    if head[:4] in (b"II+\0", b"MM\0+"):
        return "tiff"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    if head.startswith(b"NRRD"):
        return "itk"
    if _is_nifti(head):
        return "nifti"
    for magic, name in _OTHER.items():
        if head.startswith(magic):
            return name
    if _is_bare_dicom(head):
        return "dicom"
    if _METAIMAGE.match(head) and re.search(rb"(?m)^DimSize\s*=", head):
        return "itk"
    if b"\0" not in head:
        return "text"
    return "a file of unknown kind"


def _unpacked(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") as stream:
            return stream.read(540)
    except (OSError, EOFError, zlib.error):
        return b""


def _is_nifti(head: bytes) -> bool:
    if len(head) < 348:
        return False
    size = {head[:4], head[:4][::-1]}
    if (348).to_bytes(4, "little") in size:
        return head[344:347] in (b"n+1", b"ni1")
    return (540).to_bytes(4, "little") in size and head[4:7] in (b"n+2", b"ni2")


def _is_bare_dicom(head: bytes) -> bool:
    """DICOM without preamble: starts with an element of group 2 or 8, in either byte order."""
    for order in ("little", "big"):
        group = int.from_bytes(head[:2], order)  # type: ignore[arg-type]
        element = int.from_bytes(head[2:4], order)  # type: ignore[arg-type]
        length = int.from_bytes(head[4:8], order)  # type: ignore[arg-type]
        if group in (2, 8) and element < 0x1200 and (head[4:6] in _VR or length < 1024):
            return True
    return False


def read_scans(path: Path, modality: Modality | None, options: Ingest) -> list[Found]:
    """Find every scan in a file or folder, at any depth.

    DICOM objects are grouped into series and volumes; volumes of a series that lie on one grid (time points, echoes)
    are channels of one scan.

    Args:
        path: File or folder.
        modality: What the scans are; ``None`` to go by their headers, and by colour for pictures.
        options: How to read.

    Raises:
        InputError: Nothing is there.
    """
    return find_scans(list_files(path), modality, options)


def list_files(path: Path) -> list[Path]:
    """A file itself; of a folder all files at any depth, in order, without hidden ones.

    What is no ordinary file, such as a pipe, is among them, to be named as passed over.

    Raises:
        InputError: Nothing is there.
    """
    if not path.exists():
        raise InputError("the file does not exist", where=str(path))
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.rglob("*") if not p.is_dir() and not p.name.startswith("."))


def find_scans(files: Sequence[Path], modality: Modality | None, options: Ingest) -> list[Found]:
    """As :func:`read_scans`, among files that are known to be there."""
    found: list[Found] = []
    dicom: list[Path] = []
    for file in files:
        try:
            kind = sniff(file)
        except OddFileError as error:
            found.append(Found(file, "no ordinary file", reason=error.what, code="not_an_image"))
            continue
        except InputError as error:
            found.append(Found(file, UNOPENED, reason=error.what, code="refused"))
            continue
        if kind == "dicom":
            dicom.append(file)
        elif kind in _READERS:
            title, read = _READERS[kind]
            if not file.name.endswith((".img", ".img.gz")):  # the header beside it counts
                found.append(Found(file, title, read=partial(read, file, modality, options)))
        else:
            found.append(_not_an_image(file, kind))
    if dicom:
        from pipeline.formats.dicom.folder import find_dicom

        found += find_dicom(dicom, modality, options)
    return found


def read_scan_file(
    paths: Sequence[Path], modality: Modality | None, options: Ingest, *, beside: Collection[Path] = ()
) -> Scan:
    """Read exactly one scan from one path, or from several as its channels.

    Args:
        paths: Files, or folders of slices.
        modality: What the scan is; ``None`` to go by its header.
        options: How to read.
        beside: Files in these folders that are no part of the scan: its masks.

    Returns:
        The scan in canonical orientation, ``(C, X, Y, Z)``; ``stored`` keeps the grid of the file.

    Raises:
        InputError: A path holds no scan or several, or the channels lie on different grids.
    """
    parts = [_the_one(path, modality, options, beside).canonical() for path in paths]
    first = parts[0]
    for number, part in enumerate(parts[1:], 2):
        if not part.grid.same_place(first.grid, 0.1):
            raise InputError(
                f"channel {number} lies on another grid than channel 1 ({_size(part)} and {_size(first)})",
                where=str(paths[number - 1]),
                remedy="Register and resample the channels first.",
            )
    voxels = np.concatenate([part.voxels for part in parts]) if len(parts) > 1 else first.voxels
    notes = {key: value for part in reversed(parts) for key, value in part.notes.items()}
    names = tuple(options.channels) if len(options.channels) == voxels.shape[0] else first.channels
    return replace(first, voxels=voxels, channels=names if len(names) == voxels.shape[0] else (), notes=notes)


def _the_one(path: Path, modality: Modality | None, options: Ingest, beside: Collection[Path]) -> Scan:
    if options.stack is not None and path.is_dir():
        from pipeline.formats.pictures.stack import read_stack

        return read_stack(path, modality or "mri", options)
    found = find_scans([file for file in list_files(path) if file not in beside], modality, options)
    readable = [item for item in found if item.read is not None]
    if len(readable) != 1:
        if not readable:
            reasons = "; ".join(dict.fromkeys(item.reason for item in found)) or "the folder is empty"
            raise InputError(reasons, where=str(path))
        kinds = ", ".join(f"{item.kind} ({item.files} files)" for item in readable[:6])
        raise InputError(
            f"holds {len(readable)} scans: {kinds}", where=str(path), remedy="Give each a row and a path of its own."
        )
    refused = [item for item in found if item.code == "refused"]
    if refused:
        raise InputError(f"holds slices that make no volume: {refused[0].reason}", where=str(path))
    assert readable[0].read is not None
    try:
        return readable[0].read()
    except InputError as error:
        raise type(error)(error.what, where=error.where or str(path), remedy=error.remedy) from None


def _size(scan: Scan) -> str:
    return " × ".join(str(n) for n in scan.shape) + " at " + " × ".join(f"{s:.3g}" for s in scan.spacing)


def _not_an_image(file: Path, kind: str) -> Found:
    words = {"text": "a text file", "empty": "an empty file", "parquet": "a Parquet table"}.get(kind, kind)
    # Whose name says that it is an image, and whose content does not, is broken: it was cut short, or never written.
    broken = file.name.lower().endswith(IMAGE_ENDINGS) and kind in _BROKEN
    return Found(file, words, reason=f"is {words}, not an image", code="refused" if broken else "not_an_image")


def _nifti(file: Path, modality: Modality | None, options: Ingest) -> Scan:
    from pipeline.formats.nifti.reader import read_nifti

    return read_nifti(file, modality or "mri", options)


def _itk(file: Path, modality: Modality | None, options: Ingest) -> Scan:
    from pipeline.formats.itk import read_itk

    return read_itk(file, modality or "mri", options)


def _picture(file: Path, modality: Modality | None, options: Ingest) -> Scan:
    from pipeline.formats.pictures.borders import crop_borders
    from pipeline.formats.pictures.reader import is_colour, read_raster

    kind = modality or ("photo" if is_colour(file, options) else "xray")
    scan = read_raster(file, kind, options)
    return crop_borders(scan) if options.crop_borders and kind == "xray" else scan


#: What :func:`sniff` calls a file of one scan → what it is, in words, and its reader.
_READERS: dict[str, tuple[str, Callable[[Path, Modality | None, Ingest], Scan]]] = {
    "nifti": ("NIfTI volume", _nifti),
    "itk": ("NRRD or MetaImage volume", _itk),
    "png": ("PNG picture", _picture),
    "jpeg": ("JPEG picture", _picture),
    "tiff": ("TIFF picture", _picture),
    "gif": ("GIF picture", _picture),
    "bmp": ("BMP picture", _picture),
}
