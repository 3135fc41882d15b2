"""Files whose names differ by a closing word and by zeros."""

from pathlib import Path

import numpy as np

from tests.field.making import write_nifti


def make(folder: Path) -> None:
    """Predictions and references."""
    for case in (1, 2, 10):
        mask = np.zeros((12, 10, 8), np.uint8)
        mask[1 : 3 + case, 2:6, 1:6] = 1
        write_nifti(folder / "pred" / f"volume-{case}_pred.nii.gz", mask)
        write_nifti(folder / "ref" / f"segmentation_{case:04d}.nii.gz", mask)
