"""A study of pictures whose masks stand in Label Studio's and CVAT's files."""

import json
from pathlib import Path

import numpy as np

from tests.field.making import grey, write_picture, write_study
from tests.field.rle.shapes import brush, counts, organ


def make(folder: Path) -> None:
    """Two scans, one mask from each tool."""
    for name in ("one", "two"):
        write_picture(folder / "data" / f"{name}.png", (grey((60, 50, 1))[:, :, 0] // 8).astype(np.uint8))
    task = {"id": 1, "data": {"image": "/data/upload/1/0a1b2c3d-one.png"}}
    done = {"id": 2, "completed_by": 1, "result": [brush(organ(), "femur")]}
    (folder / "data" / "export.json").write_text(json.dumps([{**task, "annotations": [done]}]))
    runs = ", ".join(map(str, counts(organ(), "rows")))
    mask = f'<mask label="femur" rle="{runs}" left="0" top="0" width="50" height="60"/>'
    image = f'<image id="0" name="two.png" width="50" height="60">{mask}</image>'
    (folder / "data" / "annotations.xml").write_text(f'<?xml version="1.0"?>\n<annotations>{image}</annotations>')
    rows = [
        {"scan_id": "one", "patient_id": "p", "image": "one.png", "mask": "export.json"},
        {"scan_id": "two", "patient_id": "q", "image": "two.png", "mask": "annotations.xml"},
    ]
    write_study(folder, rows, modality="xray", organs=["femur"])
    np.save(folder / "truth.npy", organ().T.astype(np.uint8))
