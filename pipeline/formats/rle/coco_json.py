"""COCO's JSON, whole files and single cells, read into cells: run lengths as they stand, polygons painted."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.core.errors import InputError
from pipeline.formats.rle.cell import UNNAMED, Cell
from pipeline.formats.rle.dialects import DIALECTS
from pipeline.formats.rle.json_text import parsed_text, plain_counts
from pipeline.formats.rle.numbers import SPREADSHEET_CELL, spreadsheet_fault
from pipeline.formats.rle.shapes import polygon_counts
from pipeline.formats.rle.tables import DAMAGED, open_bytes

_UNREADABLE: tuple[type[BaseException], ...] = (ValueError, RecursionError, OSError, *DAMAGED)
#: Results below it are candidates, which a threshold would drop.
_SCORE = 0.5


def read_json(path: str | Path) -> Any:
    """The value of a JSON file, gzipped or not: JSON has no rows, so it is held in memory.

    Raises:
        InputError: It is not JSON.
    """
    try:
        with open_bytes(path) as handle:
            return json.load(handle)
    except _UNREADABLE as error:
        raise InputError(f"is not readable as JSON ({error})", where=str(path)) from None


def read_coco(path: str | Path) -> Iterator[Cell]:
    """Read an annotation file, a list of results, or detectron2's list of images with their annotations.

    An annotation that cannot be read is a cell with a fault, so that it keeps no other image from being read.

    Raises:
        InputError: It is not JSON of this form.
    """
    value = read_json(path)
    if isinstance(value, list) and value and all(isinstance(one, dict) and "annotations" in one for one in value):
        value = _by_images(value)
    annotations = value.get("annotations") if isinstance(value, dict) else value
    if not isinstance(annotations, list) or not all(isinstance(item, dict) for item in annotations):
        raise InputError("is neither a COCO annotation file nor a list of results", where=str(path))
    head = value if isinstance(value, dict) else {}
    images, categories = _known(head, "images", path), _known(head, "categories", path)
    names = Counter(str(image.get("file_name")) for image in images.values())
    for number, annotation in enumerate(annotations, 1):
        image = images.get(_key(annotation.get("image_id")), {})
        category = categories.get(_key(annotation.get("category_id")), {})
        cell = Cell(
            number,
            "segmentation",
            str(image.get("file_name", annotation.get("image_id", ""))),
            str(category.get("name", annotation.get("category_id", UNNAMED))),
            "",
            _side(image.get("height")),
            _side(image.get("width")),
            DIALECTS["coco"],
        )
        try:
            _check_links(annotation, image, category, bool(images), bool(categories), names)
        except InputError as error:
            yield replace(cell, fault=error)
        else:
            yield coco_cell(cell, annotation["segmentation"])


def _by_images(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Detectron2's dataset, which keeps annotations with their images, as COCO has it."""
    images = [{**record, "id": number} for number, record in enumerate(records)]
    annotations = [
        {**one, "image_id": image["id"]}
        for image in images
        for one in (image["annotations"] if isinstance(image["annotations"], list) else ())
        if isinstance(one, dict)
    ]
    return {"images": images, "annotations": annotations}


def _known(head: Mapping[str, Any], what: str, path: str | Path) -> dict[Any, dict[str, Any]]:
    """Images or categories by their ids.

    Raises:
        InputError: They are no list of objects, or two of them share an id.
    """
    items = head.get(what) or []
    if not isinstance(items, list) or not all(
        isinstance(one, dict) and isinstance(one.get("id"), int | str | None) for one in items
    ):
        raise InputError(f"its {what} are no list of objects with ids", where=str(path))
    known = {one.get("id"): one for one in items}
    if len(known) < len(items):
        twice = next(key for key, count in Counter(one.get("id") for one in items).items() if count > 1)
        raise InputError(f"two of its {what} have the id {twice!r}", where=str(path))
    return known


def _key(value: Any) -> int | str | None:
    """An id, where it is one."""
    return value if isinstance(value, int | str) else None


def _check_links(
    annotation: Mapping[str, Any],
    image: Mapping[str, Any],
    category: Mapping[str, Any],
    images: bool,
    categories: bool,
    names: Mapping[str, int],
) -> None:
    """Refuse an annotation of an image or category that is not there, or whose name two images share.

    Raises:
        InputError: It is one, has no segmentation, or is a candidate that a threshold would drop.
    """
    if "segmentation" not in annotation:
        raise InputError("has no segmentation", remedy="A box or points alone are no mask.")
    if images and not image:
        raise InputError(f"its image_id {annotation.get('image_id')!r} is none of the file's images")
    if categories and not category:
        raise InputError(f"its category_id {annotation.get('category_id')!r} is none of the file's categories")
    if image and names[str(image.get("file_name"))] > 1:
        raise InputError(
            f"two images of the file are called {image.get('file_name')!r}", remedy="Give each a name of its own."
        )
    fault = candidate_fault(annotation.get("score"))
    if fault is not None:
        raise fault


def candidate_fault(score: Any) -> InputError | None:
    """What keeps a model's result from being a mask: a score, as a number or its text, that a threshold would drop."""
    try:
        value = float(score)
    except (TypeError, ValueError):
        return None
    if not value < _SCORE:
        return None
    return InputError(
        f"has the score {value:.2g}: a candidate, which is a mask only if no threshold is meant",
        remedy=f"Keep the results that count (those of {_SCORE} or more are read).",
    )


def _side(value: Any) -> int | None:
    """Rows or columns of a picture; ``None`` where they are no whole number."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return int(value) if number and value > 0 and value == int(value) else None


def coco_cell(cell: Cell, segmentation: Any) -> Cell:
    """Fill a cell from polygons, or from COCO's ``{"size": [h, w], "counts": …}``, as an object or as its text.

    The text may be JSON or what Python prints. What is neither is a fault of the cell.
    """
    try:
        return _filled(cell, segmentation)
    except InputError as error:
        cut = isinstance(segmentation, str) and len(segmentation) == SPREADSHEET_CELL
        return replace(cell, fault=spreadsheet_fault() if cut else error)


def _filled(cell: Cell, segmentation: Any) -> Cell:
    value = parsed_text(segmentation) if isinstance(segmentation, str) else segmentation
    value = [] if value is None else value
    if isinstance(value, list) and (not value or not all(_is_count(item) for item in value)):
        # One polygon may stand without the list around it.
        polygons = value if any(isinstance(item, list) for item in value) or not value else [value]
        if cell.height is None or cell.width is None:
            raise InputError(
                "the file does not say how large the polygon's picture is",
                remedy="Give its images, or the columns, a height and a width.",
            )
        return replace(cell, text=polygon_counts(polygons, cell.height, cell.width))
    counts: Any = value
    if isinstance(value, dict):
        counts, height, width = _sized(value, cell)
        cell = replace(cell, height=height, width=width)
    if isinstance(counts, list):
        text = " ".join(str(count) for count in counts)
        return replace(cell, text=text, dialect=DIALECTS["coco-list"])
    text = str(counts).strip()
    listed = bool(re.fullmatch(r"[0-9 ]*", text)) and cell.dialect.kind == "counts"
    return replace(cell, text=text, dialect=DIALECTS["coco-list" if listed else "coco"])


def _sized(value: Mapping[str, Any], cell: Cell) -> tuple[Any, int, int]:
    """Counts, height and width of a JSON object.

    Raises:
        InputError: One is missing, or the size is not the image's.
    """
    try:
        counts = plain_counts(value["counts"])
        height, width = (int(side) for side in value["size"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError("lacks counts or size") from None
    if cell.height is not None and cell.width is not None and (cell.height, cell.width) != (height, width):
        raise InputError(
            f"says a size of {height}×{width}, its image one of {cell.height}×{cell.width}",
            remedy="A size is [height, width]; one of the two is wrong or turned.",
        )
    return counts, height, width


def _is_count(item: Any) -> bool:
    return isinstance(item, int) and not isinstance(item, bool)
