"""Predicted organs as ordinary NIfTI files, in the grid, axis order and orientation of the file of the scan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.core.labels import LabelMap
from pipeline.core.names import below
from pipeline.core.scan import Array, Grid, Scan
from pipeline.formats.nifti.writer import write_nifti


def stored_grid(scan: Scan) -> Grid:
    """The grid of the file that a scan came in."""
    return scan.stored or scan.grid


def write_label_files(
    folder: Path, scan_id: str, scan: Scan, labels: LabelMap, values: Mapping[str, int]
) -> dict[str, tuple[Path, int]]:
    """Write the organs of a scan.

    Args:
        folder: Where to write.
        scan_id: Name of the files.
        scan: The scan, for its stored grid.
        labels: Its organs, on the scan's grid.
        values: Organ → value in the file. Overlapping organs have a file each, ``<scan_id>/<organ>.nii.gz``, of 0
            and 1.

    Returns:
        Organ → its file, and the value that it has there.
    """
    grid = stored_grid(scan)
    if labels.overlapping:
        files = {}
        for organ in labels.organs:
            path = below(folder, scan_id, f"{organ}.nii.gz")
            write_nifti(path, scan.to_stored(labels.mask(organ).astype(np.uint8)), grid.affine, scan.unit)
            files[organ] = (path, 1)
        return files
    highest = max(values[organ] for organ in labels.organs)
    data = np.zeros(labels.data.shape, np.uint8 if highest < 256 else np.uint16 if highest < 65536 else np.int32)
    for organ in labels.organs:
        data[labels.mask(organ)] = values[organ]
    path = below(folder, f"{scan_id}.nii.gz")
    write_nifti(path, scan.to_stored(data), grid.affine, scan.unit)
    return {organ: (path, values[organ]) for organ in labels.organs}


def write_probabilities(path: Path, scan: Scan, probabilities: Array, *, overlapping: bool) -> None:
    """Write probabilities in the grid of the scan's file, ``(X, Y, Z, K)`` float32.

    Args:
        path: The file.
        scan: The scan, for its stored grid.
        probabilities: ``(K, X, Y, Z)`` on the scan's grid: the background first, where organs exclude each other.
        overlapping: Whether they do not. Borders that were cut off a picture are background.
    """
    stored = scan.to_stored(probabilities)
    if scan.is_flat and not overlapping and stored is not probabilities:
        stored[0] = scan.to_stored(probabilities[0], fill=1)
    write_nifti(path, np.moveaxis(stored, 0, -1), stored_grid(scan).affine, scan.unit)
