"""Label Studio's JSON read into cells: what is painted becomes run lengths, polygons are painted as COCO's are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.limits import check_size
from pipeline.core.study import Ingest
from pipeline.formats.rle.cell import UNNAMED, Cell
from pipeline.formats.rle.coco_json import read_json
from pipeline.formats.rle.dialects import DIALECTS, READ_ONLY
from pipeline.formats.rle.edges import Mask
from pipeline.formats.rle.shapes import mask_text, no_area, polygon_counts

#: A pixel that a stroke covers by half or more belongs to it: the edges of strokes are smoothed.
_HALF = 128
#: Label Studio puts eight letters and a hyphen before the name of a file that was uploaded to it.
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")


def read_labelstudio(path: str | Path) -> Iterator[Cell]:
    """Read Label Studio's export ``JSON`` or ``JSON_MIN``.

    Where a task has annotations of several people, the organs are called ``organ@annotator``, so that nobody's masks
    are taken for another's. Skipped annotations and predictions of models are passed over.

    Raises:
        InputError: It is not JSON of this form.
    """
    tasks = read_json(path)
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise InputError("is not a list of Label Studio's tasks", where=str(path))
    # In JSON_MIN every annotation is an object of its own, which repeats its task.
    done: dict[Any, list[_Done]] = {}
    for row, task in enumerate(tasks, 1):
        key = task.get("id")
        done.setdefault(key if isinstance(key, int | str) else ("row", row), []).extend(_annotations(row, task))
    cells = {key: list(_task_cells(annotations)) for key, annotations in done.items()}
    pictures = Counter(name for found in cells.values() for name in {cell.scan_id for cell in found if cell.scan_id})
    for cell in (cell for found in cells.values() for cell in found):
        if pictures[cell.scan_id] > 1:
            yield replace(cell, fault=InputError(f"several tasks of the file are about {cell.scan_id!r}"))
        else:
            yield cell


@dataclass(frozen=True)
class _Done:
    """A finished annotation of a task: number of the task's object, who made it, and what was drawn."""

    row: int
    task: Mapping[str, Any]
    person: str
    number: Any
    results: list[Any]


def _task_cells(annotations: Sequence[_Done]) -> Iterator[Cell]:
    """The shapes of one task, with their annotator's name where there are several."""
    people = [one.person for one in annotations]
    if len(set(people)) < len(people):
        people = [f"annotation {one.number}" for one in annotations]
    for person, one in zip(people, annotations, strict=True):
        for cell in _labelstudio_cells(one.row, one.task, one.results):
            yield replace(cell, organ=f"{cell.organ}@{person}") if len(annotations) > 1 else cell


def _annotations(row: int, task: Mapping[str, Any]) -> list[_Done]:
    """The finished annotations of a task; in ``JSON_MIN`` the task is its own annotation."""
    given = task.get("annotations", task.get("completions"))
    if isinstance(given, list):
        return [
            _Done(row, task, _person(one.get("completed_by", one.get("id"))), one.get("id", number), one["result"])
            for number, one in enumerate(given, 1)
            if isinstance(one, dict) and isinstance(one.get("result"), list) and not one.get("was_cancelled")
        ]
    shapes = [
        {"value": shape, **{key: shape.get(key) for key in ("original_width", "original_height", "image_rotation")}}
        for value in task.values()
        if isinstance(value, list)
        for shape in value
        if isinstance(shape, dict) and "original_width" in shape
    ]
    number = task.get("annotation_id", row)
    return [_Done(row, task, _person(task.get("annotator", number)), number, shapes)] if shapes else []


def _person(who: Any) -> str:
    return str(who.get("id", who.get("email")) if isinstance(who, dict) else who)


def _labelstudio_cells(row: int, task: Mapping[str, Any], results: list[Any]) -> Iterator[Cell]:
    """The shapes of one annotation."""
    by_id: dict[Any, list[str]] = {}
    shapes = [one for one in results if isinstance(one, dict) and isinstance(one.get("value"), dict)]
    for one in shapes:
        if isinstance(one.get("id"), str):
            by_id.setdefault(one["id"], []).extend(_labels(one["value"]))
    for one in shapes:
        value = one["value"]
        area = "rle" in value or "points" in value
        if not area and not {"x", "y", "vertices", "keypointlabels"} & set(value):
            # A choice, a rating or a text about the image; labels alone belong to a shape of the same id.
            continue
        cell = Cell(row, "value", "", UNNAMED, "", None, None, READ_ONLY["labelstudio"])
        try:
            cell = replace(cell, scan_id=_image_name(task, one))
            cell = _labelstudio_shape(cell, one, value)
        except InputError as error:
            cell = replace(cell, fault=error)
        names = _labels(value) or list(dict.fromkeys(by_id.get(str(one.get("id")), [])))
        for organ in names or [UNNAMED]:
            yield replace(cell, organ=organ)


def _labels(value: Mapping[str, Any]) -> list[str]:
    """The names in ``brushlabels``, ``polygonlabels``, ``labels`` and the like."""
    for key, names in value.items():
        if key.endswith("labels") and isinstance(names, list):
            return [str(name) for name in names]
    return []


def _image_name(task: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """The name of the picture that a result is about, as it was before it was uploaded.

    Raises:
        InputError: The task's data do not say which one it is.
    """
    data = task.get("data", task)
    data = data if isinstance(data, dict) else {}
    named = data.get(str(result.get("to_name")))
    values: list[Any] = [named]
    if not isinstance(named, str | list):
        values = [value for value in data.values() if _is_picture(value)] or [data.get("image", data.get("img"))]
    if len(values) == 1 and isinstance(values[0], list):
        # Of several pages, the result says which one.
        index = result.get("item_index", 0 if len(values[0]) == 1 else None)
        values = values[0][index : index + 1] if isinstance(index, int) else []
    if len(values) != 1 or not isinstance(values[0], str):
        raise InputError(f"its task's data do not say which picture is meant: {', '.join(map(str, data)) or 'none'}")
    address = urlsplit(values[0])
    local = parse_qs(address.query).get("d", parse_qs(address.query).get("fileuri"))
    name = unquote(local[0] if local else address.path or values[0])
    folder, slash, base = name.rpartition("/")
    if "/upload/" in name or isinstance(task.get("file_upload"), str):
        return _UPLOADED.sub("", base, count=1)
    return f"{folder}{slash}{base}".lstrip("/")


def _is_picture(value: Any) -> bool:
    """Whether a task's value is the address of a file, or a list of such."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, str) and _is_picture(one) for one in value)
    return isinstance(value, str) and bool(re.search(r"\.\w{2,5}$", urlsplit(value).path + urlsplit(value).query))


def _labelstudio_shape(cell: Cell, result: Mapping[str, Any], value: Mapping[str, Any]) -> Cell:
    """Fill a cell from strokes or a polygon.

    Raises:
        InputError: It is another shape, of a turned picture, or not right.
    """
    height, width = (result.get(key) for key in ("original_height", "original_width"))
    if not (isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0):
        raise InputError("lacks original_width or original_height")
    if result.get("image_rotation"):
        raise InputError(
            f"was drawn on the picture turned by {result['image_rotation']} degrees, which may or may not be undone",
            remedy="Turn the picture back in Label Studio and export again.",
        )
    cell = replace(cell, height=height, width=width)
    if "rle" in value:
        return replace(cell, text=mask_text(_strokes(value["rle"], height, width)))
    points = value.get("points")
    if not isinstance(points, list) or value.get("closed") is False:
        raise no_area(result.get("type") or ", ".join(value))
    # Points are percentages of the picture's sides.
    try:
        flat = [float(n) * side / 100 for point in points for n, side in zip(point, (width, height), strict=True)]
    except (TypeError, ValueError):
        raise InputError("its points are not pairs of numbers") from None
    return replace(cell, text=polygon_counts([flat], height, width), dialect=DIALECTS["coco"])


def _strokes(packed: Any, height: int, width: int) -> Mask:
    """The ``(height, width)`` mask of Label Studio's brush.

    The coding is that of ``@thi.ng/rle-pack``: 32 bits with the number of values, 5 with the bits of a value less one,
    four times 4 with the bits of a length less one; then blocks of one bit (whether one value is repeated), two that
    choose the bits of the length, the length less one, and the value or values. The values are the picture's RGBA
    bytes by rows; the mask is the opacity.

    Raises:
        InputError: It is not packed so, or not of this size.
    """
    check_size((height, width, 4), 1, Ingest(), what="the brush")
    if not isinstance(packed, list) or not all(isinstance(one, int) and 0 <= one < 256 for one in packed):
        raise InputError("its strokes are not a list of bytes")
    bits = np.unpackbits(np.array(packed, np.uint8))
    at = 0

    def take(count: int) -> int:
        nonlocal at
        if at + count > bits.size:
            raise InputError("its strokes end too early", remedy="The file was cut short.")
        at += count
        return int("".join(map(str, bits[at - count : at].tolist())), 2)

    total, word, sizes = take(32), take(5) + 1, [take(4) + 1 for _ in range(4)]
    if total != height * width * 4:
        raise InputError(f"its strokes hold {total} values, not the 4 × {height} × {width} of its picture")
    values: NDArray[np.int64] = np.empty(total, np.int64)
    weights = 1 << np.arange(word - 1, -1, -1, dtype=np.int64)
    done = 0
    while done < total:
        repeated = take(1)
        end = min(done + 1 + take(sizes[take(2)]), total)
        if repeated:
            values[done:end] = take(word)
        else:
            count = (end - done) * word
            if at + count > bits.size:
                raise InputError("its strokes end too early", remedy="The file was cut short.")
            values[done:end] = bits[at : at + count].reshape(-1, word) @ weights
            at += count
        done = end
    return np.asarray(values.reshape(height, width, 4)[:, :, 3] >= _HALF, np.bool_)
