"""Masks of a PNG radiograph in the NIfTI forms of dcm2niix and ITK, and in one that says nothing."""

from pathlib import Path

import numpy as np

from tests.field.making import grey, labels, write_nifti, write_picture, write_study


def make(folder: Path) -> None:
    """Write one picture, three masks of it, and a second study that says which way rows run."""
    shape = (24, 20, 1)
    truth = labels(shape)
    write_picture(folder / "data/x.png", (grey(shape)[..., 0].T // 4).astype(np.uint8))
    write_nifti(folder / "data/dcm2niix.nii.gz", truth[:, ::-1], affine=np.diag([-0.2, 0.2, 1, 1]))
    write_nifti(folder / "data/itk.nii.gz", truth, affine=np.diag([-1.0, -1, 1, 1]))
    write_nifti(folder / "data/eye.nii.gz", truth[:, ::-1], affine=np.eye(4))
    np.save(folder / "truth.npy", truth)
    rows = [
        {"scan_id": name, "patient_id": "p", "image": "x.png", "mask": f"{name}.nii.gz"}
        for name in ("dcm2niix", "itk", "eye")
    ]
    write_study(folder, rows, modality="xray", ingest={"shards": 1, "mask_rows": "up"})
    for place in ("configs/s.yaml", "data_manifests/s.csv"):
        (folder / place.replace("s.", "told.")).write_text((folder / place).read_text())
    write_study(folder, rows, modality="xray", ingest={"shards": 1})
