"""Results of a model with scores, and a size that contradicts the image."""

import json
from pathlib import Path

from tests.field.rle.shapes import counts, organ


def make(folder: Path) -> None:
    segmentation = {"size": [60, 50], "counts": counts(organ())}
    result = {"image_id": 1, "category_id": 1, "segmentation": segmentation}
    (folder / "results.json").write_text(json.dumps([{**result, "score": 0.9}, {**result, "score": 0.04}]))
    image = {"id": 1, "file_name": "img1.png", "height": 50, "width": 60}
    (folder / "turned.json").write_text(json.dumps({"images": [image], "annotations": [result]}))
    twice = [{**image, "height": 60, "width": 50}, {**image, "id": 2}]
    (folder / "twice.json").write_text(json.dumps({"images": twice, "annotations": [result]}))
