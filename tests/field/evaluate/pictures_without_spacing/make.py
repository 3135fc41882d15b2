"""Two pictures, and two flat NIfTI files that name no unit."""

from pathlib import Path

import numpy as np

from tests.field.making import write_nifti, write_picture


def make(folder: Path) -> None:
    """Predictions and references."""
    mask = np.zeros((24, 20), np.uint8)
    mask[4:12, 4:12] = 255
    for name, moved in (("pred", 2), ("ref", 0)):
        found = np.roll(mask, moved, axis=0)
        write_picture(folder / f"{name}.png", found)
        write_nifti(folder / f"{name}.nii.gz", found.T[..., None], (1.0, 1.0, 1.0))
