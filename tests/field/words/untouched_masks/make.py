"""A correction folder as a model leaves it: one mask was changed since, one was not."""

from pathlib import Path

import numpy as np

from pipeline.formats.correction import finish
from tests.field.making import grey, labels, write_nifti, write_study


def make(folder: Path) -> None:
    """The study ``s`` of two scans without masks, and ``correction`` with a mask of each."""
    rows = []
    for name in "ab":
        write_nifti(folder / "data" / f"{name}.nii.gz", grey())
        write_nifti(folder / "correction" / "masks" / f"{name}.nii.gz", labels())
        rows.append({"scan_id": name, "patient_id": name, "image": f"{name}.nii.gz", "mask": ""})
    finish(folder / "correction")
    write_nifti(folder / "correction" / "masks" / "a.nii.gz", np.roll(labels(), 1, axis=0))
    write_study(folder, rows)
