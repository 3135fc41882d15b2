"""COCO's JSON, whole files and single cells, read into cells."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.core.errors import InputError
from pipeline.formats.rle.cell import UNNAMED, Cell
from pipeline.formats.rle.dialects import DIALECTS
from pipeline.formats.rle.tables import DAMAGED, open_bytes

_UNREADABLE: tuple[type[BaseException], ...] = (ValueError, RecursionError, OSError, *DAMAGED)


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


def coco_cell(cell: Cell, segmentation: Any, path: str | Path) -> Cell:
    """Fill a cell from COCO's ``{"size": [h, w], "counts": …}``, given as JSON text or as an object.

    Raises:
        InputError: It is a polygon, or neither form of run lengths.
    """
    value = segmentation
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            value = json.loads(value)
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(f"is not JSON ({error})", where=cell.where(path)) from None
    if isinstance(value, list) and not all(isinstance(item, int) for item in value):
        raise InputError(
            "is a polygon, not run lengths",
            where=cell.where(path),
            remedy="Convert it with pycocotools' annToRLE first.",
        )
    counts: Any = value
    if isinstance(value, dict):
        try:
            counts = value["counts"]
            height, width = (int(side) for side in value["size"])
        except (KeyError, TypeError, ValueError):
            raise InputError("lacks counts or size", where=cell.where(path)) from None
        cell = replace(cell, height=height, width=width)
    if isinstance(counts, list):
        text = " ".join(str(count) for count in counts)
        return replace(cell, text=text, dialect=DIALECTS["coco-list"])
    text = str(counts).strip()
    listed = bool(re.fullmatch(r"[0-9 ]*", text)) and cell.dialect.kind == "counts"
    return replace(cell, text=text, dialect=DIALECTS["coco-list" if listed else "coco"])
