"""The study ``demo_mri``: brain MRI as DICOM series and NIfTI in several orientations, with label volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.labels import LabelMap
from pipeline.demo.cohort import MASK_SHIFTED, MISSING_SLICE, SITES, DemoScan
from pipeline.demo.head import ORGANS, Acquisition, Head
from pipeline.demo.rays import turn
from pipeline.demo.write_dicom import write_mr
from pipeline.demo.write_files import reoriented, write_nifti

FAULTS = (MASK_SHIFTED, MISSING_SLICE)
ORIENTATIONS = ("RAS", "LPS", "LAS", "PIR", "RSA", "LPI")
GRIDS = {SITES[0]: (64, 64, 24), SITES[1]: (64, 64, 24), SITES[2]: (60, 68, 26)}


def make_volume(scan: DemoScan, root: Path) -> None:
    """Acquire one volume and write it and its labels below ``root``; fills in the row of ``scan``."""
    person = scan.person()
    head = Head(person, tumour=scan.patient % 5 != 0)
    rng = scan.draw()
    acquisition = _acquisition(scan, rng)
    voxels, labels = head.acquire(acquisition, rng)
    mask = root / "masks" / f"{scan.scan_id}.nii.gz"
    as_dicom = scan.fault == MISSING_SLICE or (not scan.fault and scan.number % 2 == 0)
    if as_dicom:
        image = root / "images" / scan.scan_id
        order = rng.permutation(acquisition.shape[2])
        missing = acquisition.shape[2] // 2 if scan.fault == MISSING_SLICE else None
        write_mr(
            image,
            scan.identity(),
            voxels,
            acquisition.affine,
            contrast=acquisition.contrast,
            order=order,
            without=missing,
        )
        # Half of the label volumes lie in the order of the DICOM rows, half in the order that dcm2niix turns them to.
        write_nifti(mask, *reoriented(labels, acquisition.affine, "LPS" if scan.number % 4 else "LAS"))
    else:
        orientation = ORIENTATIONS[scan.number // 2 % len(ORIENTATIONS)]
        image = root / "images" / f"{scan.scan_id}.nii{'' if scan.number % 4 == 1 else '.gz'}"
        stored, affine = reoriented(voxels.astype(np.int16), acquisition.affine, orientation)
        write_nifti(image, stored, affine, scaled=scan.number % 6 == 3)
        if orientation == "RAS" and not scan.fault:
            turned, affine = reoriented(labels, acquisition.affine, orientation)
            scan.labels = LabelMap(turned, affine, ORGANS, overlapping=False, annotated=frozenset(ORGANS))
            scan.place(root, image, contrast=acquisition.contrast)
            return
        _write_labels(mask, labels, acquisition, orientation, shifted=scan.fault == MASK_SHIFTED)
    scan.place(root, image, mask, contrast=acquisition.contrast)


def _write_labels(
    path: Path, labels: NDArray[np.uint8], acquisition: Acquisition, orientation: str, *, shifted: bool
) -> None:
    affine = acquisition.affine.copy()
    if shifted:
        affine[:3, 3] += [14.0, -9.0, 6.0]
    write_nifti(path, *reoriented(labels, affine, orientation))


def _acquisition(scan: DemoScan, rng: np.random.Generator) -> Acquisition:
    """An axial acquisition, tilted and turned, centred on the brain."""
    shape = GRIDS[scan.site]
    spacing = np.array([0, 0, rng.uniform(5.2, 5.8)])
    spacing[:2] = rng.uniform(3.1, 3.35)
    tilt = turn(0, rng.normal(-6, 6)) @ turn(1, rng.normal(0, 3)) @ turn(2, rng.normal(0, 6))
    affine = np.eye(4)
    # Columns run to the left, rows to the back, slices to the head, as scanners write axial slices.
    affine[:3, :3] = tilt @ np.diag([-1.0, -1, 1]) @ np.diag(spacing)
    middle = rng.normal([0, 0, -3], [3, 4, 2])
    affine[:3, 3] = middle - affine[:3, :3] @ (np.array(shape) - 1) / 2
    return Acquisition(
        shape=shape,
        affine=affine,
        contrast=("T1", "FLAIR")[(scan.patient // 2 + scan.visit) % 2],
        noise=float(rng.uniform(0.02, 0.045)),
        bias=float(rng.uniform(0.12, 0.4)),
        gain=float(rng.uniform(500, 2400)),
    )
