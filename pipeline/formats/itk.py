"""NRRD and MetaImage volumes, through SimpleITK."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.limits import LONGEST_TEXT_HEADER, check_size
from pipeline.core.names import below
from pipeline.core.scan import LPS_TO_RAS, Array, Modality, Scan
from pipeline.core.study import Ingest
from pipeline.formats.decoders import Decoded, decode
from pipeline.formats.exact import smallest_exact

#: ``Key = value`` of MetaImage; comments, ``field: value`` and ``key:=value`` of NRRD. No other control letters.
_META_LINE = re.compile(rb"[ \t]*[^=:\x00-\x20]+[ \t]*=[^\x00-\x08\x0a-\x1f]*")
_NRRD_LINE = re.compile(rb"#[^\x00-\x08\x0a-\x1f]*|[A-Za-z][^:\x00-\x1f]*:[ =\t][^\x00-\x08\x0a-\x1f]*")


def read_itk(path: Path, modality: Modality, options: Ingest) -> Scan:
    """Read a ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd`` file.

    Returns:
        ``(C, X, Y, Z)`` in the file's axis order; components and a fourth axis become channels.

    Raises:
        InputError: SimpleITK cannot read it, or it promises too much.
    """
    about = {"path": str(path), "options": options.model_dump_json()}
    voxels, facts = decode("pipeline.formats.itk:decoded_volume", about)
    return Scan(voxels, np.array(facts["affine"]), modality, notes={"format": "itk"})


def decoded_volume(path: str, options: str) -> Decoded:
    """``(C, X, Y, Z)`` and, under ``affine``, voxel index → RAS+ mm; options as JSON.

    Raises:
        InputError: As in :func:`read_itk`.
    """
    return _volume(Path(path), Ingest.model_validate_json(options))


def _volume(path: Path, options: Ingest) -> Decoded:
    import SimpleITK

    attached = _check_detached(path)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(_driver(path))
    try:
        reader.ReadImageInformation()
        components = reader.GetNumberOfComponents()
        check_size((*reader.GetSize(), components), 8, options, path.stat().st_size if attached else None)
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(f"cannot be read ({_last_line(error)})") from None
    data = SimpleITK.GetArrayFromImage(image)
    if data.dtype.kind == "c":
        raise InputError("the voxels are complex numbers", remedy="Save magnitude or real part.")
    return _channels_first(data, image), {"affine": _affine(image).tolist()}


def _driver(path: Path) -> str:
    with open(path, "rb") as stream:
        return "NrrdImageIO" if stream.read(4) == b"NRRD" else "MetaImageIO"


def _check_detached(path: Path) -> bool:
    """Refuse a header that names voxels elsewhere than in itself or in a file beside it.

    Gives whether the voxels follow in the file itself. Only headers whose every line can be read in one way pass, so
    that ITK cannot find another name than is found here.

    Raises:
        InputError: The header has an odd line or no end, or names several files, or one that is not beside it.
    """
    name = _voxel_file(path)
    if name is None:
        return True
    if name.upper().startswith("LIST") or "%" in name:
        raise InputError("the voxels are spread over several files", remedy="Save the volume as one file.")
    try:
        beside = below(path.parent, name)
    except InputError:
        beside = path
    folder = path.parent.resolve()
    if beside == path or beside.resolve().parent != folder or not beside.is_file():
        raise InputError(
            "the header names a file of voxels that does not lie beside it",
            remedy="Put the two into one folder, or save the volume as one file.",
        )
    return False


def _voxel_file(path: Path) -> str | None:
    """The file of voxels that a header names; ``None`` where they follow in the file itself."""
    with open(path, "rb") as stream:
        head = stream.read(LONGEST_TEXT_HEADER)
    nrrd = head.startswith(b"NRRD")
    lines = head.split(b"\n")
    for line in lines[nrrd:]:
        text = line.removesuffix(b"\r")
        if nrrd and not text:
            return None
        if not (_NRRD_LINE if nrrd else _META_LINE).fullmatch(text):
            break
        key, _, value = text.partition(b":" if nrrd else b"=")
        if key.replace(b" ", b"").replace(b"\t", b"").lower() in {b"elementdatafile", b"datafile"}:
            name = value.decode("utf-8", "replace").strip()
            return None if not nrrd and name.upper() == "LOCAL" else name
    else:
        if nrrd and len(head) < LONGEST_TEXT_HEADER:
            raise InputError("the header ends before its voxels", remedy="Save the volume again.")
    raise InputError(
        "the header has a line that is none of this format, or does not end", remedy="Save the volume again."
    )


def _channels_first(data: Array, image: Any) -> Array:
    """SimpleITK's ``(T, Z, Y, X, components)`` → ``(C, X, Y, Z)``."""
    axes = image.GetDimension()
    if image.GetNumberOfComponentsPerPixel() == 1:
        data = data[..., None]
    moved = data.transpose(*range(axes - 1, -1, -1), axes)
    if axes == 2:
        moved = moved[:, :, None]
    x, y, z = moved.shape[:3]
    return smallest_exact(np.moveaxis(moved.reshape(x, y, z, -1), -1, 0))


def _affine(image: Any) -> Array:
    """Voxel index → RAS+ mm of an ITK image, which counts in LPS."""
    axes = min(image.GetDimension(), 3)
    size = image.GetDimension()
    direction = np.asarray(image.GetDirection(), float).reshape(size, size)[:axes, :axes]
    affine = np.eye(4)
    affine[:axes, :axes] = direction * np.asarray(image.GetSpacing()[:axes], float)
    affine[:axes, 3] = image.GetOrigin()[:axes]
    affine = LPS_TO_RAS @ affine
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError("the header has no usable geometry")
    return affine


def _last_line(error: Exception) -> str:
    """What ITK says went wrong, without its source file and without the path of ours."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else "unknown error"
    return text.split(":")[-1].strip()[:120] or "unknown error"
