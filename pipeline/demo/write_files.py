"""Pictures, volumes and masks of the demo in the forms that people have, with the same bytes every time."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.scan import Grid, permute
from pipeline.demo.rays import Array

#: Colours of the RGB palette masks. Lungs and heart overlap, so what two organs share has a colour of its own.
PALETTE: dict[str, tuple[str, ...]] = {
    "#ff0000": ("left_lung",),
    "#00ff00": ("right_lung",),
    "#0000ff": ("heart",),
    "#ff00ff": ("left_lung", "heart"),
    "#00ffff": ("right_lung", "heart"),
}


def write_grey_png(path: Path, grey: NDArray[np.uint16], bits: int) -> None:
    """Write 12-bit grey values as a PNG of 8 or 16 bits that uses its whole range."""
    scaled = np.round(grey.astype(float) * ((1 << bits) - 1) / 4095)
    Image.fromarray(scaled.astype(np.uint8 if bits == 8 else np.uint16)).save(path)


def write_organ_pngs(folder: Path, scan_id: str, masks: Mapping[str, NDArray[np.bool_]]) -> dict[str, Path]:
    """Write one black and white PNG an organ; returns organ → file."""
    files = {}
    for organ, mask in masks.items():
        files[organ] = folder / f"{scan_id}_{organ}.png"
        Image.fromarray(mask.astype(np.uint8) * 255).save(files[organ])
    return files


def write_palette_png(path: Path, masks: Mapping[str, NDArray[np.bool_]]) -> None:
    """Write one RGB PNG in which every combination of organs that occurs has its colour of ``PALETTE``.

    Raises:
        ValueError: Organs overlap that have no colour together.
    """
    picture = np.zeros((*next(iter(masks.values())).shape, 3), np.uint8)
    painted = np.zeros(picture.shape[:2], bool)
    for color, organs in PALETTE.items():
        alone = np.logical_and.reduce([mask == (organ in organs) for organ, mask in masks.items()])
        picture[alone] = tuple(bytes.fromhex(color[1:]))
        painted |= alone
    if (painted != np.logical_or.reduce(list(masks.values()))).any():
        raise ValueError("two organs overlap that have no colour together")
    Image.fromarray(picture).save(path)


def write_nifti(path: Path, array: Array, affine: Array, *, scaled: bool = False) -> None:
    """Write ``(X, Y, Z)`` voxels as NIfTI, compressed where the name ends in ``.gz``.

    Args:
        path: File to write.
        array: Voxels.
        affine: 4×4, voxel index → RAS+ mm; written as qform and sform.
        scaled: Store floating point as 16-bit integers with a slope and an intercept.
    """
    image = nib.Nifti1Image(array.astype(np.float32) * 0.37 if scaled else array, affine)
    image.set_data_dtype(np.int16 if scaled else array.dtype)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    data = image.to_bytes()
    path.write_bytes(gzip.compress(data, 6, mtime=0) if path.suffix == ".gz" else data)


def reoriented(array: Array, affine: Array, orientation: str) -> tuple[Array, Array]:
    """The same ``(X, Y, Z)`` volume in space with its axes nearest to an orientation such as ``LPS`` or ``PIR``."""
    grid = Grid(array.shape, affine)  # type: ignore[arg-type]
    have = grid.orientation
    pairs = {"R": "RL", "L": "RL", "A": "AP", "P": "AP", "S": "SI", "I": "SI"}
    axes = tuple(next(i for i, letter in enumerate(have) if letter in pairs[wanted]) for wanted in orientation)
    flips = tuple(have[axis] != wanted for axis, wanted in zip(axes, orientation, strict=True))
    moved = np.ascontiguousarray(permute(array, axes, flips))  # type: ignore[arg-type]
    return moved, grid.permuted(axes, flips).affine  # type: ignore[arg-type]
