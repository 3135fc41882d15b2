"""Label Studio's export: a brush, an upload's name, a rating, a skipped task and a model's prediction."""

import json
from pathlib import Path

from tests.field.rle.shapes import brush, organ, write_truth


def make(folder: Path) -> None:
    write_truth(folder, organ())
    task = {"id": 1, "data": {"image": "/data/upload/1/0a1b2c3d-img1.png"}, "predictions": [{"result": []}]}
    rating = {"id": "y", "type": "rating", "from_name": "q", "to_name": "image", "value": {"rating": 4}}
    skipped = {"id": 8, "completed_by": 2, "was_cancelled": True, "result": [brush(~organ(), "organ")]}
    one = {"id": 7, "completed_by": 1, "was_cancelled": False, "result": [brush(organ(), "organ"), rating]}
    (folder / "export.json").write_text(json.dumps([{**task, "annotations": [one, skipped]}]))
    other = {"id": 9, "completed_by": 3, "result": [brush(organ() & False, "organ")]}
    (folder / "several.json").write_text(json.dumps([{**task, "annotations": [one, other]}]))
    short = {key: brush(organ(), "organ")[key] for key in ("original_width", "original_height")}
    short |= brush(organ(), "organ")["value"]
    (folder / "min.json").write_text(json.dumps([{"id": 1, "image": "img1.png", "tag": [short], "annotator": 1}]))
    box = {**brush(organ(), "organ"), "type": "rectanglelabels"}
    box["value"] = {"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": ["organ"]}
    (folder / "box.json").write_text(json.dumps([{**task, "annotations": [{**one, "result": [box]}]}]))
