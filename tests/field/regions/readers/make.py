"""One scan whose femur three readers drew, the third of them larger."""

from pathlib import Path

import numpy as np

from tests.field.making import grey, write_nifti, write_study


def make(folder: Path) -> None:
    """``truth.npy`` is what at least two of three marked."""
    write_nifti(folder / "data" / "a.nii.gz", grey())
    row = {"scan_id": "a", "patient_id": "p", "image": "a.nii.gz"}
    total = np.zeros((24, 20, 6), int)
    for reader, (start, end) in {"anna": (4, 12), "ben": (6, 14), "eva": (6, 20)}.items():
        mask = np.zeros((24, 20, 6), np.uint8)
        mask[start:end, 5:15, 1:5] = 1
        total += mask
        row[f"mask_femur@{reader}"] = f"{reader}.nii.gz"
        write_nifti(folder / "data" / f"{reader}.nii.gz", mask)
    np.save(folder / "truth.npy", (total > 1).astype(np.uint8))
    write_study(folder, [row], organs=["femur"])
