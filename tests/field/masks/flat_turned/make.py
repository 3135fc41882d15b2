"""A slice, its mask stored upside down with the affine that says so, and one that lies elsewhere."""

from pathlib import Path

import numpy as np

from tests.field.making import grey, labels, write_nifti, write_study


def make(folder: Path) -> None:
    """Write the slice and both masks."""
    shape = (24, 20, 1)
    truth = labels(shape)
    upward, far = np.diag([1.0, 1, 5, 1]), np.diag([1.0, 1, 5, 1])
    upward[1] = [0, -1, 0, shape[1] - 1]
    far[0, 3] = 100
    write_nifti(folder / "data/slice.nii.gz", grey(shape), (1.0, 1.0, 5.0))
    write_nifti(folder / "data/upward.nii.gz", truth[:, ::-1], affine=upward)
    write_nifti(folder / "data/far.nii.gz", truth, affine=far)
    np.save(folder / "truth.npy", truth)
    rows = [
        {"scan_id": n, "patient_id": "p", "image": "slice.nii.gz", "mask": f"{n}.nii.gz"} for n in ("upward", "far")
    ]
    write_study(folder, rows, ingest={"shards": 1})
