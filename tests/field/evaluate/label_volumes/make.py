"""A label volume in a folder of its own for each scan, all of one name."""

from pathlib import Path

import numpy as np

from tests.field.making import write_nifti


def make(folder: Path) -> None:
    """Predictions and references."""
    for case in range(3):
        truth = np.zeros((12, 10, 8), np.uint8)
        truth[1:5, 2 : 6 + case, 1:6] = 1
        truth[7:11, 3:8, 2:6] = 2
        found = truth.copy()
        if case == 0:
            found[found == 2] = 1
        write_nifti(folder / "ref" / f"case{case}" / "seg.nii.gz", truth)
        write_nifti(folder / "pred" / f"case{case}" / "seg.nii.gz", found)
