"""Files of two annotation tools read into cells: Label Studio's JSON and CVAT's XML.

What is painted there is turned into run lengths; polygons are painted as COCO's are. A shape that is no area (a box,
points, a line) is a cell with a fault: whoever asks for its image is told, and no other image is kept from being read.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.limits import check_size
from pipeline.core.study import Ingest
from pipeline.formats.rle.cell import UNNAMED, Cell
from pipeline.formats.rle.coco_json import read_json
from pipeline.formats.rle.codec import write_texts
from pipeline.formats.rle.dialects import DIALECTS, READ_ONLY
from pipeline.formats.rle.edges import Mask
from pipeline.formats.rle.numbers import parse_tokens
from pipeline.formats.rle.polygons import polygon_counts
from pipeline.formats.rle.runs import Runs
from pipeline.formats.rle.tables import DAMAGED, open_bytes

#: A pixel that a stroke covers by half or more belongs to it: the edges of strokes are smoothed.
_HALF = 128
#: Label Studio puts eight letters and a hyphen before the name of a file that was uploaded to it.
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
_SHAPES = ("mask", "polygon", "box", "ellipse", "points", "polyline", "cuboid", "skeleton")


def _text(mask: Mask) -> str:
    """The cell of a ``(height, width)`` mask, in the dialect of both tools' cells."""
    return write_texts(Runs.from_mask(mask, "row"), READ_ONLY["cvat"])[0]


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
    for row, task in enumerate(tasks, 1):
        done = _annotations(task)
        people = [str(_person(one)) for one in done]
        if len(set(people)) < len(people):
            people = [f"annotation {one.get('id', number)}" for number, one in enumerate(done, 1)]
        for person, annotation in zip(people, done, strict=True):
            for cell in _labelstudio_cells(row, task, annotation["result"]):
                yield replace(cell, organ=f"{cell.organ}@{person}") if len(done) > 1 else cell


def _annotations(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The finished annotations of a task that say something; in ``JSON_MIN`` the task is its own annotation."""
    given = task.get("annotations", task.get("completions"))
    if isinstance(given, list):
        return [
            one
            for one in given
            if isinstance(one, dict) and isinstance(one.get("result"), list) and not one.get("was_cancelled")
        ]
    shapes = [
        {"value": shape, **{key: shape.get(key) for key in ("original_width", "original_height", "image_rotation")}}
        for value in task.values()
        if isinstance(value, list)
        for shape in value
        if isinstance(shape, dict) and "original_width" in shape
    ]
    return [{"result": shapes}] if shapes else []


def _person(annotation: Mapping[str, Any]) -> Any:
    who = annotation.get("completed_by", annotation.get("id"))
    return who.get("email", who.get("id")) if isinstance(who, dict) else who


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
        names = _labels(value) or list(dict.fromkeys(by_id.get(one.get("id"), [])))
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
    named = {key: value for key, value in data.items() if key in (result.get("to_name"), "image", "img", "ocr")}
    files = named or {
        key: value for key, value in data.items() if isinstance(value, str) and re.search(r"\.\w{2,5}$", value)
    }
    values = list(dict.fromkeys(map(str, files.values()))) if len(files) != 1 else list(files.values())
    if len(values) == 1 and isinstance(values[0], list):
        index = result.get("item_index")
        index = index if isinstance(index, int) else 0
        values = values[0][index : index + 1]
    if len(values) != 1 or not isinstance(values[0], str):
        raise InputError(f"its task's data do not say which picture is meant: {', '.join(map(str, data)) or 'none'}")
    address = urlsplit(values[0])
    local = parse_qs(address.query).get("d", parse_qs(address.query).get("fileuri"))
    name = unquote(local[0] if local else address.path or values[0])
    folder, slash, base = name.rpartition("/")
    if "/upload/" in name or isinstance(task.get("file_upload"), str):
        return _UPLOADED.sub("", base, count=1)
    return f"{folder}{slash}{base}".lstrip("/")


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
        return replace(cell, text=_text(_strokes(value["rle"], height, width)))
    points = value.get("points")
    if not isinstance(points, list) or value.get("closed") is False:
        raise _no_area(result.get("type") or ", ".join(value))
    # Points are percentages of the picture's sides.
    try:
        flat = [float(n) * side / 100 for point in points for n, side in zip(point, (width, height), strict=True)]
    except (TypeError, ValueError):
        raise InputError("its points are not pairs of numbers") from None
    return replace(cell, text=polygon_counts([flat], height, width), dialect=DIALECTS["coco"])


def _no_area(what: object) -> InputError:
    return InputError(
        f"is a shape that is no mask ({what})",
        remedy="Export masks and polygons alone, or pass --lenient to leave it out.",
    )


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


# CVAT

#: What a file that is no XML, or is damaged, may raise.
_UNREADABLE: tuple[type[BaseException], ...] = (
    ElementTree.ParseError,
    ValueError,
    OSError,
    RecursionError,
    *DAMAGED,
)


class _Plain(ElementTree.TreeBuilder):
    """Refuses document types: no export has one, and entities in them can fill the memory."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise InputError("declares a document type, which no export of CVAT does")


def read_cvat(path: str | Path) -> Iterator[Cell]:
    """Read CVAT's ``annotations.xml``, for images or for video; the frames of a video are slices of one scan.

    Raises:
        InputError: It is not XML of this form.
    """
    try:
        with open_bytes(path) as handle:
            root = ElementTree.parse(handle, ElementTree.XMLParser(target=_Plain())).getroot()
    except InputError as error:
        raise InputError(error.what, where=str(path)) from None
    except _UNREADABLE as error:
        raise InputError(f"is not readable as XML ({error})", where=str(path)) from None
    if root.tag != "annotations":
        raise InputError(f"is XML of another kind ({root.tag!r})", where=str(path))
    names = Counter(image.get("name", "") for image in root.iter("image"))
    row = 0
    for image in root.iter("image"):
        for shape in image:
            if shape.tag not in _SHAPES:
                continue
            row += 1
            cell = Cell(
                row, shape.tag, image.get("name", ""), shape.get("label") or UNNAMED, "", None, None, READ_ONLY["cvat"]
            )
            if names[cell.scan_id] > 1:
                yield replace(cell, fault=InputError(f"two images of the file are called {cell.scan_id!r}"))
                continue
            yield _cvat_cell(cell, shape, image)
    yield from _tracks(root, row)


def _tracks(root: ElementTree.Element, row: int) -> Iterator[Cell]:
    """The shapes of a video, frame by frame.

    Raises:
        InputError: The file does not say how many frames there are and how large.
    """
    tracks = root.findall("track")
    if not tracks:
        return
    meta = root.find("meta/task")
    meta = root.find("meta/job") if meta is None else meta
    size = None if meta is None else meta.find("original_size")
    if meta is None or size is None:
        raise InputError("does not say how many frames the video has and how large they are", remedy="Export a task.")
    task: Mapping[str, str] = {
        "name": meta.findtext("source") or meta.findtext("name") or "video",
        "width": size.findtext("width", ""),
        "height": size.findtext("height", ""),
    }
    frames = _whole(meta.findtext("size", ""))
    for track in tracks:
        shapes = [shape for shape in track if shape.tag in _SHAPES]
        fault = _gap(shapes)
        for shape in shapes:
            row += 1
            if shape.get("outside") == "1":
                continue
            cell = Cell(
                row, shape.tag, task["name"], track.get("label") or UNNAMED, "", None, None, READ_ONLY["cvat"], "z"
            )
            index = _whole(shape.get("frame", ""))
            if fault is None and (index is None or frames is None or index >= frames):
                fault = InputError(f"is of frame {shape.get('frame')}, the video has {frames}")
            if fault is not None or index is None or frames is None:
                yield replace(cell, fault=fault)
                continue
            yield replace(_cvat_cell(cell, shape, task), index=index, depth=frames)


def _gap(shapes: Iterable[ElementTree.Element]) -> InputError | None:
    """Frames that a track leaves out though the shape was not said to have left the picture before."""
    last: int | None = None
    for shape in shapes:
        here = _whole(shape.get("frame", ""))
        if last is not None and here is not None and here > last + 1:
            return InputError(
                f"its track says nothing of the frames between {last} and {here}: the shape may stay or be absent",
                remedy="Export all frames from CVAT.",
            )
        last = None if shape.get("outside") == "1" else here
    return None


def _cvat_cell(cell: Cell, shape: ElementTree.Element, picture: Any) -> Cell:
    """Fill a cell from a mask or a polygon; anything else is a fault."""
    try:
        height, width = _whole(picture.get("height", "")), _whole(picture.get("width", ""))
        if not height or not width:
            raise InputError("its image has no width and height")
        cell = replace(cell, height=height, width=width)
        if shape.tag == "mask":
            return replace(cell, text=_text(_box_mask(shape, height, width)))
        if shape.tag != "polygon":
            raise _no_area(shape.tag)
        try:
            flat = [float(number) for point in shape.get("points", "").split(";") for number in point.split(",")]
        except ValueError:
            raise InputError("its points are not pairs of numbers") from None
        return replace(cell, text=polygon_counts([flat], height, width), dialect=DIALECTS["coco"])
    except InputError as error:
        return replace(cell, fault=error)


def _box_mask(shape: ElementTree.Element, height: int, width: int) -> Mask:
    """The ``(height, width)`` mask of runs in a box: background first, by rows of the box.

    Raises:
        InputError: The runs do not fill the box, or the box does not lie in the picture.
    """
    left, top, across, down = (_whole(shape.get(name, "")) for name in ("left", "top", "width", "height"))
    if left is None or top is None or not across or not down:
        raise InputError("lacks left, top, width or height")
    check_size((height, width), 1, Ingest(), what="the mask's picture")
    if left + across > width or top + down > height:
        raise InputError(f"its box reaches to {left + across}, {top + down} in a picture of {width} × {height}")
    counts, _ = parse_tokens(shape.get("rle", "").replace(",", " "))
    if counts.size == 0 or counts.min() < 0 or counts.max() > across * down or counts.sum() != across * down:
        raise InputError(f"its runs do not add up to the {across * down} pixels of its box")
    mask = np.zeros((height, width), np.bool_)
    inside = np.repeat(np.arange(counts.size) % 2 == 1, counts)
    mask[top : top + down, left : left + across] = inside.reshape(down, across)
    return mask


def _whole(text: str) -> int | None:
    """A number that is whole, from ``12`` or ``12.0``."""
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if math.isfinite(value) and value >= 0 and value == int(value) else None
