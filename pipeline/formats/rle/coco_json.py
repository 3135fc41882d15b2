"""COCO's JSON: annotation files and result lists, read into cells, and annotation files written as a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from pipeline.core.errors import InputError
from pipeline.formats.rle.batch import write_texts
from pipeline.formats.rle.cell import UNNAMED, Cell, coco_cell
from pipeline.formats.rle.dialects import DIALECTS, Dialect
from pipeline.formats.rle.runs import Runs
from pipeline.formats.rle.sheaf import Sheaf
from pipeline.formats.rle.tables import DAMAGED, open_bytes

_UNREADABLE: tuple[type[BaseException], ...] = (UnicodeDecodeError, json.JSONDecodeError, OSError, *DAMAGED)


def read_coco(path: str | Path) -> Iterator[Cell]:
    """Read an annotation file or a list of results. JSON has no rows: the whole file is held in memory.

    Raises:
        InputError: It is not JSON of this form; an annotation that is a polygon.
    """
    try:
        with open_bytes(path) as handle:
            value = json.load(handle)
    except _UNREADABLE as error:
        raise InputError(f"is not readable as JSON ({error})", where=str(path)) from None
    annotations = value.get("annotations") if isinstance(value, dict) else value
    if not isinstance(annotations, list) or not all(isinstance(item, dict) for item in annotations):
        raise InputError("is neither a COCO annotation file nor a list of results", where=str(path))
    head = value if isinstance(value, dict) else {}
    images = {image.get("id"): image for image in head.get("images", ())}
    categories = {category.get("id"): category for category in head.get("categories", ())}
    for number, annotation in enumerate(annotations, 1):
        image = images.get(annotation.get("image_id"), {})
        category = categories.get(annotation.get("category_id"), {})
        cell = Cell(
            number,
            "segmentation",
            str(image.get("file_name", annotation.get("image_id", ""))),
            str(category.get("name", annotation.get("category_id", UNNAMED))),
            "",
            image.get("height"),
            image.get("width"),
            DIALECTS["coco"],
        )
        if "segmentation" not in annotation:
            raise InputError("has no segmentation", where=cell.where(path))
        yield coco_cell(cell, annotation["segmentation"], path)


class CocoWriter:
    """Writes an annotation file, annotations first and one by one, so that only names are kept in memory."""

    def __init__(self, text: IO[str], dialect: Dialect) -> None:
        self._text = text
        self._dialect = dialect
        self._images: dict[str, dict[str, Any]] = {}
        self._categories: dict[str, int] = {}
        self._count = 0
        text.write('{"annotations": [')

    def write(self, objects: Sequence[tuple[str, str, Runs]]) -> None:
        """Append objects: image, organ and runs of each."""
        if not objects:
            return
        pictures = [runs for *_, runs in objects]
        sheaf = Sheaf.of(pictures)
        values = coco_values(pictures, write_texts(pictures, self._dialect), self._dialect)
        figures = zip(values, sheaf.areas.tolist(), sheaf.bounding_boxes().tolist(), strict=True)
        for (scan_id, organ, runs), (value, area, box) in zip(objects, figures, strict=True):
            image = self._images.setdefault(
                scan_id,
                {"id": len(self._images) + 1, "file_name": scan_id, "height": runs.height, "width": runs.width},
            )
            category = self._categories.setdefault(organ, len(self._categories) + 1)
            top, left, bottom, right = box if area else (0, 0, -1, -1)
            self._count += 1
            annotation = {
                "id": self._count,
                "image_id": image["id"],
                "category_id": category,
                "segmentation": value,
                "area": area,
                "bbox": [left, top, right - left + 1, bottom - top + 1],
                "iscrowd": 0,
            }
            self._text.write(("" if self._count == 1 else ",") + "\n" + json.dumps(annotation))

    def close(self) -> None:
        """Write the images and categories that the annotations name."""
        categories = [{"id": number, "name": name} for name, number in self._categories.items()]
        images = json.dumps(list(self._images.values()))
        self._text.write(f'\n],\n"images": {images},\n"categories": {json.dumps(categories)}}}\n')


def coco_values(pictures: Sequence[Runs], texts: Sequence[str], dialect: Dialect) -> Iterator[dict[str, Any]]:
    """``{"size": [h, w], "counts": …}`` as COCO has it, of pictures and their cells."""
    for runs, text in zip(pictures, texts, strict=True):
        yield {"size": [runs.height, runs.width], "counts": json.loads(text) if dialect.kind == "counts" else text}
