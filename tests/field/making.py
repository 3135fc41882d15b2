"""Phantoms for the cases: small, the same each time, and with no symmetry that would hide a turned or mirrored axis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import yaml


def grey(shape: tuple[int, ...] = (24, 20, 6), seed: int = 0) -> np.ndarray:
    """Voxels of a scan, ``shape``, 0 to 999: a slope with noise, so no axis is like its reverse."""
    noise = np.random.default_rng(seed).integers(0, 100, shape)
    slope = sum(
        np.arange(size).reshape([-1 if i == axis else 1 for i in range(len(shape))]) * 9 * (axis + 1)
        for axis, size in enumerate(shape)
    )
    return (noise + slope).astype(np.int16)


def labels(shape: tuple[int, ...] = (24, 20, 6), values: tuple[int, ...] = (1, 2)) -> np.ndarray:
    """A label map, ``shape``, with a box of another size for each value, none of them in the middle."""
    array = np.zeros(shape, np.uint8)
    for number, value in enumerate(values):
        start = 2 + number * (shape[0] - 4) // len(values)
        size = max(2, (shape[0] - 4) // len(values) - 1 - number)
        where = (slice(start, start + size), slice(3, 3 + shape[1] // (2 + number)), slice(0, max(1, shape[-1] - 2)))
        array[where[: len(shape)]] = value
    return array


def write_nifti(
    path: Path, array: np.ndarray, spacing: tuple[float, ...] = (1.0, 1.0, 3.0), affine: np.ndarray | None = None
) -> Path:
    """Write an array ``(X, Y, Z)`` as NIfTI, with an affine of its own or of a spacing in mm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.nifti1.save(nib.nifti1.Nifti1Image(array, np.diag([*spacing, 1.0]) if affine is None else affine), path)
    return path


def write_picture(path: Path, array: np.ndarray) -> Path:
    """Write an array ``(rows, columns)`` or ``(rows, columns, colours)`` in the form that the name's ending says."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def write_study(folder: Path, rows: list[dict[str, str]], **config: Any) -> None:
    """Write ``configs/s.yaml`` (an MRI study of femur and tibia unless said otherwise) and its manifest."""
    (folder / "configs").mkdir(exist_ok=True)
    (folder / "data_manifests").mkdir(exist_ok=True)
    (folder / "configs" / "s.yaml").write_text(
        yaml.safe_dump({"modality": "mri", "organs": ["femur", "tibia"], **config}, sort_keys=False)
    )
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [",".join(columns), *(",".join(row.get(column, "") for column in columns) for row in rows)]
    (folder / "data_manifests" / "s.csv").write_text("\n".join(lines) + "\n")


def write_series(
    folder: Path,
    array: np.ndarray,
    step: float,
    *,
    decimals: int = 4,
    slope: float | None = None,
    without_slope: tuple[int, ...] = (),
) -> Path:
    """Write an array ``(X, Y, Z)`` as a DICOM series, a file a slice, ``step`` mm apart, numbered from 1.

    Args:
        folder: Where to.
        array: Stored values.
        step: mm from slice to slice.
        decimals: Of the positions, as they are written.
        slope: Each slice's RescaleSlope, if it has one.
        without_slope: Numbers of the slices that have none.
    """
    import pydicom
    from pydicom.uid import MRImageStorage, generate_uid

    folder.mkdir(parents=True, exist_ok=True)
    study, series = (generate_uid(entropy_srcs=[folder.name, word]) for word in ("study", "series"))
    for number, plane in enumerate(np.moveaxis(array, 2, 0), 1):
        item = pydicom.Dataset()
        item.SOPClassUID, item.SOPInstanceUID = MRImageStorage, generate_uid(entropy_srcs=[folder.name, str(number)])
        item.StudyInstanceUID, item.SeriesInstanceUID, item.Modality = study, series, "MR"
        item.PatientID, item.InstanceNumber = "p", number
        item.ImagePositionPatient = [f"{value:.{decimals}f}" for value in (-20, -18, -10 + (number - 1) * step)]
        item.ImageOrientationPatient, item.PixelSpacing, item.SliceThickness = [1, 0, 0, 0, 1, 0], [1, 1], str(step)
        item.Rows, item.Columns = plane.shape[::-1]
        item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
        item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelRepresentation = 16, 16, 15, 1
        if slope is not None and number not in without_slope:
            item.RescaleSlope = str(slope)
        item.PixelData = np.ascontiguousarray(plane.T.astype("<i2")).tobytes()
        item.file_meta = pydicom.dataset.FileMetaDataset()
        item.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        item.save_as(folder / f"IM{number:03d}.dcm", enforce_file_format=True)
    return folder
