"""Segmentations of 3D Slicer (``.seg.nrrd``): volumes whose header gives segments names, layers and values.

Source: Slicer's manual, "segmentations file format". The voxels are read as those of any NRRD file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.limits import LONGEST_TEXT_HEADER
from pipeline.formats.naming import Segment
from pipeline.formats.pictures.masks import whole_numbers

#: Name, layer and value of each segment.
Segments = list[tuple[str, int, int]]
_LINE = re.compile(rb"Segment(\d{1,6})_(Name|LabelValue|Layer|ID):=(.*)")


def read_segments(path: Path, layers: int) -> Segments:
    """The segments that a volume's file names, in its order.

    Files of before Slicer 4.11 have a layer for each segment and no values; those are 1.

    Returns:
        The segments; none where the file is another volume.

    Raises:
        InputError: A layer or value is no whole number.
    """
    with open(path, "rb") as stream:
        head = stream.read(LONGEST_TEXT_HEADER)
    if not head.startswith(b"NRRD"):
        return []
    fields: dict[int, dict[str, str]] = {}
    for line in head.replace(b"\r\n", b"\n").partition(b"\n\n")[0].split(b"\n"):
        if found := _LINE.fullmatch(line):
            fields.setdefault(int(found[1]), {})[found[2].decode()] = found[3].decode("utf-8", "replace").strip()
    segments = []
    for order, (_, field) in enumerate(sorted(fields.items())):
        layer, value = field.get("Layer", str(order if layers > 1 else 0)), field.get("LabelValue", "1")
        if not (layer.isdecimal() and value.isdecimal()):
            raise InputError("a segment's layer or value is no whole number", remedy="Save the segmentation again.")
        segments.append((field.get("Name", ""), int(layer), int(value)))
    return segments


def segment_masks(
    layers: Sequence[NDArray[Any]], segments: Segments
) -> tuple[dict[int, Segment], dict[int, NDArray[np.bool_]]]:
    """What each segment is called, and its mask, both by number.

    A segment's number is its value; where layers use a value twice, its place in the file, counted from 1.

    Args:
        layers: ``(X, Y, Z)`` values of each layer.
        segments: From :func:`read_segments`.

    Raises:
        InputError: Voxels belong to no segment, or a segment's layer is not there.
    """
    whole = [whole_numbers(layer) for layer in layers]
    if any(not 0 <= at < len(whole) for _, at, _ in segments):
        raise InputError("the segmentation names a layer that it does not hold")
    for number, layer in enumerate(whole):
        strange = set(np.unique(layer).tolist()) - {0, *(value for _, at, value in segments if at == number)}
        if strange:
            shown = ", ".join(str(value) for value in sorted(strange)[:5])
            raise InputError(f"the segmentation holds values that none of its segments has: {shown}")
    values = [value for _, _, value in segments]
    numbers = values if len(set(values)) == len(values) else range(1, len(values) + 1)
    called = {number: Segment(name) for number, (name, _, _) in zip(numbers, segments, strict=True)}
    masks = {number: whole[at] == value for number, (_, at, value) in zip(numbers, segments, strict=True)}
    return called, masks
