"""A model of pictures applied to a volume: each slice is predicted as the picture that it would have been saved as."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pipeline.core.arrays import zeros
from pipeline.core.errors import InputError
from pipeline.core.plan import Plan
from pipeline.core.scan import FRONTAL_AFFINE, Array, Scan, to_canonical

#: Planes by the canonical axis that slices run across.
PLANES = ("sagittal", "coronal", "axial")
#: Pixels whose sides differ by more than this share are not square, as those of pictures are.
_SQUARE = 0.02


def sees_pictures(plan: Plan) -> bool:
    """Whether a plan is of a network that was trained on pictures, not on slices of volumes."""
    return plan.spatial_dims == 2 and plan.slice_axis is None


def slice_axis(scan: Scan) -> int:
    """The canonical axis across which the slices of a scan's file run: that of its third index."""
    axes, _ = to_canonical(scan.stored or scan.grid)
    return axes.index(2)


def as_pictures(scan: Scan) -> list[Scan]:
    """The slices of a volume as pictures, each as a radiologist is shown it.

    Columns run to the patient's left (in sagittal slices to the back), rows to the back or the feet. That is how slices
    lie in DICOM files, and in the PNG and TIFF files that are made of them.

    Args:
        scan: A volume on canonical axes.

    Returns:
        Scans ``(C, columns, rows, 1)`` in pixels, in the order of the canonical axis.

    Raises:
        InputError: The pixels of the slices are not square.
    """
    axis = slice_axis(scan)
    across, down = (size for index, size in enumerate(scan.spacing) if index != axis)
    if abs(across - down) > _SQUARE * max(across, down):
        raise InputError(
            f"the pixels of its slices are {across:.4g} × {down:.4g} mm, and the model was trained on pictures, whose "
            "pixels are square",
            remedy="Resample the volume to square pixels.",
        )
    moved = np.moveaxis(scan.voxels, axis + 1, -1)[:, ::-1, ::-1]
    return [
        Scan(np.ascontiguousarray(moved[..., index, None]), FRONTAL_AFFINE.copy(), scan.modality, "unknown")
        for index in range(moved.shape[-1])
    ]


def as_volume(parts: Iterable[Array], scan: Scan, room: int) -> Array:
    """What was found in the pictures of :func:`as_pictures`, on the grid of their volume.

    Args:
        parts: ``(K, columns, rows, 1)`` of each slice, in order.
        scan: The volume.
        room: Bytes that are held in memory.

    Returns:
        ``(K, X, Y, Z)``, of the parts' type.
    """
    axis, whole = slice_axis(scan), None
    for index, part in enumerate(parts):
        if whole is None:
            whole = zeros((part.shape[0], *scan.shape), room, part.dtype)
        np.moveaxis(whole, axis + 1, -1)[:, ::-1, ::-1, index] = part[..., 0]
    assert whole is not None
    return whole
