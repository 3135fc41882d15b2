"""A scan and its label volume."""

from pathlib import Path

import numpy as np

from tests.field.making import grey, labels, write_nifti, write_study


def make(folder: Path) -> None:
    """One scan ``a`` with femur and tibia."""
    write_nifti(folder / "data" / "a.nii.gz", grey())
    write_nifti(folder / "data" / "a_mask.nii.gz", labels())
    np.save(folder / "truth.npy", labels())
    write_study(folder, [{"scan_id": "a", "patient_id": "p", "image": "a.nii.gz", "mask": "a_mask.nii.gz"}])
