"""An nnU-Net raw folder whose dataset.json names regions."""

import json
from pathlib import Path

import numpy as np

from tests.field.making import write_nifti


def make(folder: Path) -> None:
    """Predictions and references."""
    raw = folder / "Dataset001_x"
    for case in range(2):
        labels = np.zeros((12, 10, 8), np.uint8)
        labels[1:8, 2:6, 1:6] = 1
        labels[3:6, 3:5, 2:5] = 2
        scan = np.random.default_rng(case).normal(size=labels.shape).astype(np.float32)
        write_nifti(raw / "imagesTr" / f"case{case}_0000.nii.gz", scan)
        write_nifti(raw / "labelsTr" / f"case{case}.nii.gz", labels)
        for organ, values in (("whole", (1, 2)), ("core", (2,))):
            mask = np.isin(labels, values).astype(np.uint8)
            write_nifti(folder / "organs" / f"case{case}" / f"{organ}.nii.gz", mask)
    labels_of = {"background": 0, "whole": [1, 2], "core": 2}
    (raw / "dataset.json").write_text(json.dumps({"labels": labels_of, "numTraining": 2, "file_ending": ".nii.gz"}))
