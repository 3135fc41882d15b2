"""CVAT's XML read into cells: masks in their boxes become run lengths, polygons are painted as COCO's are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.limits import check_size
from pipeline.core.study import Ingest
from pipeline.formats.rle.cell import UNNAMED, Cell
from pipeline.formats.rle.dialects import DIALECTS, READ_ONLY
from pipeline.formats.rle.edges import Mask
from pipeline.formats.rle.numbers import parse_tokens
from pipeline.formats.rle.shapes import mask_text, no_area, polygon_counts
from pipeline.formats.rle.tables import DAMAGED, open_bytes

_SHAPES = ("mask", "polygon", "box", "ellipse", "points", "polyline", "cuboid", "skeleton")

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
            return replace(cell, text=mask_text(_box_mask(shape, height, width)))
        if shape.tag != "polygon":
            raise no_area(shape.tag)
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
