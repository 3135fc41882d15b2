"""Slices and masks as numbered pictures of three channels in one folder a patient."""

from pathlib import Path

import numpy as np

from tests.field.making import grey, labels, write_picture, write_study


def make(folder: Path) -> None:
    """Slices 1 to 12, so that names do not sort as numbers do; ``truth.npy`` lies as the scan does, RAS+."""
    shape = (24, 20, 12)
    channels = np.stack([grey(shape, seed) // 8 for seed in range(3)], -1).clip(0, 255).astype(np.uint8)
    mask = labels(shape, (1,))
    for z in range(shape[2]):
        write_picture(folder / "data" / "p" / f"p_{z + 1}.tif", channels[:, :, z].swapaxes(0, 1))
        write_picture(folder / "data" / "p" / f"p_{z + 1}_mask.tif", mask[:, :, z].T * 255)
    np.save(folder / "truth.npy", mask[::-1, ::-1])
    ingest = {
        "channels": ["pre", "flair", "post"],
        "stack": "*[0-9].tif",
        "stack_masks": "*_mask.tif",
        "stack_spacing": [1, 1, 3],
    }
    row = {"scan_id": "a", "patient_id": "p", "image": "p", "mask": "p"}
    write_study(folder, [row], organs=["tumour"], ingest=ingest)
