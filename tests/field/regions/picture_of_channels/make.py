"""A picture whose red, green and blue are three sequences of an MRI."""

from pathlib import Path

import numpy as np

from tests.field.making import grey, labels, write_picture, write_study


def make(folder: Path) -> None:
    """``truth.npy`` is the mask, ``truth_scan.npy`` the three channels, ``(3, X, Y, 1)``."""
    pixels = np.stack([grey((20, 24), seed).clip(0, 2000) // 8 for seed in range(3)], -1).astype(np.uint8)
    mask = (labels((20, 24), (1,)) > 0).astype(np.uint8)
    write_picture(folder / "data" / "a.png", pixels)
    write_picture(folder / "data" / "a_mask.png", mask * 255)
    np.save(folder / "truth.npy", mask.T[..., None])
    row = {"scan_id": "a", "patient_id": "p", "image": "a.png", "mask": "a_mask.png"}
    write_study(folder, [row], organs=["tumour"], ingest={"channels": ["pre", "flair", "post"]})
