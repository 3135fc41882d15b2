"""COCO polygons, and polygons beside runs."""

import json
from pathlib import Path

import numpy as np

from tests.field.rle.shapes import counts, organ, write_truth


def make(folder: Path) -> None:
    image = {"id": 1, "file_name": "img1.png", "height": 60, "width": 50}
    box = np.zeros((60, 50), bool)
    box[5:30, 10:22] = True
    polygon = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[10, 5, 22, 5, 22, 30, 10, 30]]}
    runs = {**polygon, "id": 2, "segmentation": {"size": [60, 50], "counts": counts(organ())}, "iscrowd": 1}
    head = {"images": [image], "categories": [{"id": 1, "name": "organ"}]}
    (folder / "polygons.json").write_text(json.dumps({**head, "annotations": [polygon]}))
    (folder / "mixed.json").write_text(json.dumps({**head, "annotations": [runs, polygon]}))
    write_truth(folder, box)
    write_truth(folder, box | organ(), "truth_mixed.npy")
