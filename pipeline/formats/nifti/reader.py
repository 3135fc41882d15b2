"""NIfTI-1 and NIfTI-2 volumes: header rules, scaling and place in space, read by content and within bounds."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from pipeline.core.arrays import LONG, row_chunks, zeros
from pipeline.core.errors import InputError
from pipeline.core.limits import LONGEST_HEADER, check_compressed, check_size
from pipeline.core.scan import Array, Grid, Modality, Scan, is_invertible
from pipeline.core.study import Ingest
from pipeline.formats.exact import exact_dtype

#: NIfTI's codes of length units → millimetres. 0 is "unknown", which everyone reads as millimetres.
_MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_CHUNK = 1 << 24


def read_nifti(path: Path, modality: Modality, options: Ingest) -> Scan:
    """Read one NIfTI file (``.nii``, ``.nii.gz``, or ``.hdr`` with its ``.img``).

    The sform is used where its code is set, else the qform, else the voxel sizes alone with the axes taken as RAS+
    (nifti1.h, "methods" 3, 2 and 1). ``notes`` then say ``orientation: assumed``, and ``forms_differ`` where both forms
    are set and disagree, and ``sizes_differ`` where the sform alone is set and gives other voxel sizes than ``pixdim``.
    Further axes become channels.

    Returns:
        ``(C, X, Y, Z)`` in the file's axis order; integers where the file's values are integers without scaling, else
        float32.

    Raises:
        InputError: The file is cut short, promises more than it can hold, or has no usable geometry.
    """
    with open(path, "rb") as probe:
        packed = probe.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path, "rb") if packed else open(path, "rb") as stream:
            header = _header(stream)  # type: ignore[arg-type]
            shape, dtype = _layout(header)
            promised = check_size(shape, dtype.itemsize, options, path.stat().st_size if _alone(header) else None)
            if packed:
                check_compressed(promised, path.stat().st_size)
            if not _alone(header):
                raw = _pair_data(path, header, promised)
            else:
                start = float(header["vox_offset"])
                if not 0 <= start <= LONGEST_HEADER:
                    raise InputError(f"the header says that the voxels begin at byte {start:g}")
                stream.seek(int(start))
                raw = _read_exactly(stream, promised)  # type: ignore[arg-type]
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"the compressed data are damaged or cut short ({error})") from None
    data = np.frombuffer(raw, dtype).reshape(shape, order="F")
    affine, notes = _affine(header)
    voxels = _channels(_scaled(header, data))
    return Scan(voxels, affine, modality, notes={"format": "nifti", **notes})


def _alone(header: Any) -> bool:
    """Whether the voxels follow in the file itself, and not in an ``.img`` beside it."""
    return not header["magic"].item().startswith(b"ni")


def _header(stream: BinaryIO) -> Any:
    """Read a NIfTI-1 or NIfTI-2 header of either byte order, without trusting its fields."""
    block = stream.read(540)
    if len(block) < 348:
        raise InputError("the file ends within its header")
    for order in ("<", ">"):
        size = int(np.frombuffer(block[:4], f"{order}i4")[0])
        if size in (348, 540):
            kind = nib.Nifti1Header if size == 348 else nib.Nifti2Header
            return kind(block[:size].ljust(size, b"\0"), endianness=order, check=False)
    raise InputError("the file does not start with a NIfTI header")


def _layout(header: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape (3 axes or more) and dtype of the voxels."""
    dims = [int(n) for n in header["dim"]]
    if not 1 <= dims[0] <= 7:
        raise InputError(f"the header has {dims[0]} axes")
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError) as error:
        raise InputError(f"the header's data type cannot be read ({error})") from None
    if dtype.kind == "c":
        raise InputError("the voxels are complex numbers", remedy="Save magnitude or real part.")
    if (dtype.kind not in "iuf" and dtype.names is None) or dtype.itemsize == 0:
        raise InputError(f"voxels of type {dtype} cannot be read")
    if dtype.itemsize > 8:
        raise InputError("the voxels are 128-bit numbers", remedy="Save them as float32.")
    shape = tuple(dims[1 : dims[0] + 1])
    return (*shape, *(1,) * (3 - len(shape))), dtype


def _read_exactly(stream: BinaryIO, count: int) -> bytearray | NDArray[np.uint8]:
    """Read ``count`` bytes and no more, growing with what is there rather than with what is promised.

    Long data go through to an unnamed file. They are not mapped where they lie: a file that others cut short while it
    is mapped would end the process.
    """
    held, whole, at = bytearray(), None, 0
    while at < count:
        part = stream.read(min(_CHUNK, count - at))
        if not part:
            raise InputError(f"the voxels end early: {at:,} of {count:,} bytes")
        if whole is None:
            held += part
        else:
            whole[at : at + len(part)] = np.frombuffer(part, np.uint8)
        at += len(part)
        if whole is None and LONG <= at < count:
            whole = zeros((count,), 0, np.uint8)
            whole[:at] = held
            del held[:]
    return held if whole is None else whole


def _pair_data(path: Path, header: Any, promised: int) -> bytearray | NDArray[np.uint8]:
    """Voxels of a ``.hdr``/``.img`` pair."""
    stem = path.name.removesuffix(".gz").removesuffix(".hdr").removesuffix(".img")
    for name in (f"{stem}.img", f"{stem}.img.gz"):
        image = path.with_name(name)
        if image.is_file():
            with gzip.open(image, "rb") if name.endswith(".gz") else open(image, "rb") as stream:
                stream.seek(max(int(header["vox_offset"]), 0))
                return _read_exactly(stream, promised)  # type: ignore[arg-type]
    raise InputError("the header's voxels lie in an .img file that is not there", remedy="Keep .hdr and .img together.")


def _scaled(header: Any, data: Array) -> Array:
    """Apply ``scl_slope`` and ``scl_inter``; a slope of 0, or one that is not finite, means no scaling."""
    if data.dtype.names:
        return np.moveaxis(np.stack([data[name] for name in data.dtype.names]), 0, -1)
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not np.isfinite(slope) or slope == 0 or not np.isfinite(intercept) or (slope, intercept) == (1.0, 0.0):
        kind = exact_dtype(data)
        return data if kind == data.dtype else _converted(data, kind, lambda part: part)
    return _converted(data, np.dtype(np.float32), lambda part: part.astype(np.float64) * slope + intercept)


def _converted(data: Array, kind: np.dtype[Any], convert: Callable[[Array], Array]) -> Array:
    """``convert(data)`` as another dtype, part by part, in the order of the file."""
    turned = data.T
    result = zeros(turned.shape, LONG, kind)
    for rows in row_chunks(turned):
        result[rows] = convert(turned[rows])
    return result.T


def _channels(data: Array) -> NDArray[Any]:
    """``(X, Y, Z, …)`` → ``(C, X, Y, Z)``."""
    x, y, z = data.shape[:3]
    return np.moveaxis(data.reshape(x, y, z, -1), -1, 0)


def _affine(header: Any) -> tuple[Array, dict[str, Any]]:
    """Voxel index → RAS+ mm, and what was noticed."""
    unit = _MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)
    scale = np.diag([unit, unit, unit, 1.0])
    notes: dict[str, Any] = {}
    sform = header.get_sform() if int(header["sform_code"]) > 0 else None
    qform = None
    if int(header["qform_code"]) > 0:
        try:
            qform = header.get_qform()
        except (ValueError, HeaderDataError):
            notes["qform"] = "unusable"
    if sform is not None and not _usable(sform):
        notes["sform"] = "unusable"
        sform = None
    if qform is not None and not _usable(qform):
        notes["qform"] = "unusable"
        qform = None
    if sform is not None and qform is not None and _differ(sform, qform, header):
        notes["forms_differ"] = True
    elif sform is not None and (sizes := _other_sizes(sform, header)) is not None:
        notes["sizes_differ"] = sizes
    chosen = sform if sform is not None else qform
    if chosen is None:
        sizes = np.abs(np.asarray(header["pixdim"][1:4], float))
        if not np.isfinite(sizes).all():
            raise InputError("the voxel sizes are not numbers")
        if (sizes == 0).any():
            notes["spacing"] = "assumed"
        chosen = np.diag([*np.where(sizes == 0, 1.0, sizes), 1.0])
        notes["orientation"] = "assumed"
    affine = scale @ chosen
    if not is_invertible(affine):
        raise InputError("the header has no usable geometry")
    return affine, notes


def _usable(affine: Array) -> bool:
    return bool(np.isfinite(affine).all()) and abs(np.linalg.det(affine[:3, :3])) > 1e-9


def _other_sizes(sform: Array, header: Any) -> str | None:
    """The voxel sizes of the sform and those of ``pixdim``, where they differ by more than rounding.

    An sform of ones is what tools write that know no geometry, beside the sizes that the scanner gave.
    """
    named = np.abs(np.asarray(header["pixdim"][1:4], float))
    own = np.linalg.norm(sform[:3, :3], axis=0)
    sides = [int(n) for n in header["dim"][1:4]]
    seen = [axis for axis in range(3) if sides[axis] > 1]  # what lies across a single slice is often not set
    if not (np.isfinite(named).all() and (named > 0).all()) or np.allclose(own[seen], named[seen], rtol=0.01):
        return None
    unit = _MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)
    first, second = (" × ".join(f"{size * unit:.3g}" for size in sizes) for sizes in (own, named))
    return f"{first} mm by its sform and {second} mm by its pixdim"


def _differ(a: Array, b: Array, header: Any) -> bool:
    """Whether two affines put a corner of the volume more than a tenth of a voxel apart."""
    x, y, z = (max(int(n), 2) for n in header["dim"][1:4])
    return not Grid((x, y, z), a).same_place(Grid((x, y, z), b), 0.1)
