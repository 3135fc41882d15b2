"""What a file's content says: a drawing of few values or a recording of many, and the grid that it lies on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.scan import Array
from pipeline.ingest.drafts.listing import PICTURES

#: Values that a drawing has at most, and a recording at least.
FEW, MANY = 40, 60


@dataclass(frozen=True)
class Content:
    """What was seen in a file.

    Attributes:
        looks: ``mask``, ``image``, or empty where the content does not say.
        organs: How many values beside the background a drawing has.
        grid: Shape, and of volumes the affine to RAS+ mm; empty where unknown.
        times: Volumes of a file of four axes, else 1.
    """

    looks: str = ""
    organs: int = 0
    grid: tuple[Any, ...] = ()
    times: int = 1


@cache
def look(path: Path) -> Content:
    """Look into a file: three slices of a volume, every pixel of a picture."""
    try:
        if path.is_dir():
            return _series(path)
        if path.name.lower().endswith(PICTURES):
            return _picture(path)
        return _volume(path)
    except Exception:  # a broken file gives no evidence here; ingestion says what is wrong with it
        return Content()


def same_grid(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether two grids of :class:`Content` are one, headers' rounding apart."""
    if len(one) != 2 or isinstance(one[0], int) or isinstance(other[0], int):
        return one == other
    return one[0] == other[0] and len(one[1]) == len(other[1]) and np.allclose(one[1], other[1], atol=0.05)


def _ras(image: Any) -> Array:
    """Voxel index → RAS+ mm of an ITK image, which speaks of LPS."""
    size = image.GetDimension()
    affine = np.eye(4)
    affine[:size, :size] = np.array(image.GetDirection()).reshape(size, size) * np.array(image.GetSpacing())
    affine[:size, 3] = image.GetOrigin()
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


def overlap(one: Path, other: Path) -> float:
    """Dice of two drawings, each taken as one organ; 0 where they cannot be compared."""
    try:
        first, second = (_whole(path) > 0 for path in (one, other))
    except Exception:  # as in `look`
        return 0.0
    total = int(first.sum() + second.sum())
    return 2 * int((first & second).sum()) / total if total and first.shape == second.shape else 0.0


def _whole(path: Path) -> Array:
    if path.name.lower().endswith(PICTURES):
        from PIL import Image

        with Image.open(path) as picture:
            return np.asarray(picture.convert("L")) > 127
    if path.name.lower().endswith((".nii", ".nii.gz", ".hdr")):
        import nibabel as nib

        return np.asarray(nib.load(path).dataobj)  # type: ignore[attr-defined]
    import SimpleITK

    return np.asarray(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))))


def _series(folder: Path) -> Content:
    """The slice in the middle of a folder of DICOM files."""
    import pydicom

    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return Content(_looks(pydicom.dcmread(files[len(files) // 2], force=True).pixel_array))


def _picture(path: Path) -> Content:
    from PIL import Image

    with Image.open(path) as picture:
        size = picture.size
        values = np.asarray(picture if picture.mode in {"1", "P", "L", "I;16", "I", "F"} else picture.convert("RGB"))
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    if values.ndim == 3:
        packed = values.astype(np.int64) @ np.array([65536, 256, 1])
        return Content(_looks(packed, lossy=True), 0, size)
    return Content(_looks(values, lossy=True), max(len(np.unique(values)) - 1, 0), size)


def _volume(path: Path) -> Content:
    import nibabel as nib

    if path.name.lower().endswith((".nii", ".nii.gz", ".hdr", ".hdr.gz")):
        image: Any = nib.load(path)  # type: ignore[attr-defined]
        shape, affine, voxels = image.shape, np.asarray(image.affine), image.dataobj
    else:
        import SimpleITK

        read = SimpleITK.ReadImage(str(path))
        voxels = SimpleITK.GetArrayViewFromImage(read).T
        shape = voxels.shape
        affine = _ras(read)
    times = int(shape[3]) if len(shape) > 3 else 1
    depth = int(shape[2]) if len(shape) > 2 else 1
    first = (..., 0) if times > 1 else (...,)
    if depth == 1:
        values = np.asarray(voxels[first])
    else:
        levels = sorted({depth // 3, depth // 2, 2 * depth // 3})
        values = np.stack([np.asarray(voxels[(slice(None), slice(None), level, *first[1:])]) for level in levels])
        if values.min() == values.max():
            values = np.asarray(voxels[first])
    grid = (tuple(int(n) for n in shape[:3]), tuple(affine.astype(float).ravel().tolist()))
    return Content(_looks(values), max(len(np.unique(values)) - 1, 0), grid, times)


def _looks(values: Array, *, lossy: bool = False) -> str:
    """Whether values are those of a drawing or of a recording."""
    values = np.asarray(values)
    if not values.size or not np.isfinite(values).all() or values.min() == values.max():
        return ""
    if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        return "image"
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= FEW:
        return "mask"
    if lossy and np.sort(counts)[-8:].sum() > 0.8 * values.size:
        return ""  # a drawing that JPEG has blurred, or a picture with a plain border
    return "image" if len(distinct) >= MANY else ""
