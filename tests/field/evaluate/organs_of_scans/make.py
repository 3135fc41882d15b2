"""A folder for each scan and a file for each organ; the scans are of unlike size."""

from pathlib import Path

import numpy as np

from tests.field.making import write_nifti


def make(folder: Path) -> None:
    """Predictions and references."""
    for case in range(3):
        for at, organ in enumerate(("liver", "spleen")):
            mask = np.zeros((12 + case, 10, 8), np.uint8)
            mask[1 + 5 * at : 5 + 5 * at, 2:6, 1:6] = 1
            write_nifti(folder / "ref" / f"case{case}" / f"{organ}.nii.gz", mask)
            write_nifti(folder / "pred" / f"case{case}" / f"{organ}.nii.gz", np.roll(mask, at, axis=1))
