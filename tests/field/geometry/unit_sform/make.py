"""A volume whose sform is that of a tool that knew no geometry, beside the voxel sizes of the scanner."""

from pathlib import Path

import nibabel as nib
import numpy as np

from tests.field.making import grey


def make(folder: Path) -> None:
    """``scans/a.nii.gz``: sform of ones, pixdim 0.866 × 0.866 × 0.796, no qform."""
    image = nib.nifti1.Nifti1Image(grey(), np.eye(4))
    image.set_sform(np.eye(4), 1)
    image.header["pixdim"][1:4] = (0.866, 0.866, 0.796)
    image.header["qform_code"] = 0
    (folder / "scans").mkdir()
    nib.nifti1.save(image, folder / "scans" / "a.nii.gz")
