"""Label volumes whose values a dataset.json and a colour table name otherwise than the study numbers them."""

import json
from pathlib import Path

import numpy as np

from tests.field.making import grey, labels, write_nifti, write_study


def make(folder: Path) -> None:
    """Write one scan and two folders of masks."""
    truth = labels()
    swapped = np.array([0, 2, 1], np.uint8)[truth]
    write_nifti(folder / "data/scan.nii.gz", grey())
    write_nifti(folder / "data/nnunet/labelsTr/a.nii.gz", swapped)
    named = {"background": 0, "tibia": 1, "femur": 2}
    (folder / "data/nnunet/dataset.json").write_text(json.dumps({"labels": named}))
    write_nifti(folder / "data/snap/a.nii.gz", swapped)
    lines = ['0 0 0 0 0 0 0 "Clear Label"', '1 255 0 0 1 1 1 "tibia"', '2 0 255 0 1 1 1 "femur"']
    (folder / "data/snap/labels.txt").write_text("\n".join(lines) + "\n")
    np.save(folder / "truth.npy", truth)
    masks = {"n": "nnunet/labelsTr/a.nii.gz", "t": "snap/a.nii.gz"}
    rows = [{"scan_id": k, "patient_id": "p", "image": "scan.nii.gz", "mask": path} for k, path in masks.items()]
    write_study(folder, rows, ingest={"shards": 1})
