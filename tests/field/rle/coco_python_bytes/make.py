"""Counts as Python prints bytes, in an object and in a table's cell."""

import csv
from pathlib import Path

import numpy as np
from pycocotools import mask as coco

from tests.field.rle.shapes import organ, write_truth


def make(folder: Path) -> None:
    packed = coco.encode(np.asfortranarray(organ().astype(np.uint8)))
    write_truth(folder, organ())
    with open(folder / "objects.csv", "w", newline="") as file:
        csv.writer(file).writerows([["image_id", "segmentation"], ["img1", str(packed)]])
    with open(folder / "bytes.csv", "w", newline="") as file:
        csv.writer(file).writerows([["image_id", "rle", "height", "width"], ["img1", str(packed["counts"]), 60, 50]])
