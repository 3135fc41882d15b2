"""Shapes that people draw → the text of a cell.

Polygons are painted as the COCO API paints them, which is what files of polygons are measured by. What is no area (a
box, points, a line) is a fault: whoever asks for its image is told, and no other image is kept from being read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.core.errors import InputError
from pipeline.core.limits import check_size
from pipeline.core.study import Ingest
from pipeline.formats.rle.codec import write_texts
from pipeline.formats.rle.dialects import READ_ONLY
from pipeline.formats.rle.edges import Mask
from pipeline.formats.rle.runs import Runs

_REMEDY = "A polygon is a list x1, y1, x2, y2, … of three points or more, in pixels."


def mask_text(mask: Mask) -> str:
    """The cell of a ``(height, width)`` mask, in the dialect of the annotation tools' cells."""
    return write_texts(Runs.from_mask(mask, "row"), READ_ONLY["cvat"])[0]


def no_area(what: object) -> InputError:
    """The fault of a shape that is no mask."""
    return InputError(
        f"is a shape that is no mask ({what})",
        remedy="Export masks and polygons alone, or pass --lenient to leave it out.",
    )


def polygon_counts(polygons: Any, height: int, width: int) -> str:
    """Paint polygons into one mask; where they overlap, the mask is what they cover together.

    Args:
        polygons: Lists ``[x1, y1, x2, y2, …]`` in pixels; ``(0, 0)`` is the upper left corner of the first pixel.
        height: Rows of the picture.
        width: Columns of the picture.

    Returns:
        COCO's compressed counts. They are pycocotools' own (``rleFrPoly`` in ``maskApi.c``, P. Dollár and T.-Y. Lin,
        2015), so a mask is the one that COCO's tools see; parts outside the picture are cut off, as they do.

    Raises:
        InputError: A polygon has fewer than three points, or lies beyond the picture or within its first pixel.
    """
    from pycocotools import mask as coco

    check_size((height, width), 1, Ingest(), what="the polygon's picture")
    if not isinstance(polygons, list) or not polygons:
        raise InputError("has no outline", remedy="A box alone is no mask; leave annotations without one out.")
    outlines = [_points(polygon) for polygon in polygons]
    _check_reach(outlines, height, width)
    # One call for all: from the second number of points on, pycocotools takes four numbers for a box.
    return str(coco.merge(coco.frPyObjects(outlines, height, width))["counts"].decode("ascii"))


def _points(polygon: Any) -> list[float]:
    """The numbers of one polygon.

    Raises:
        InputError: They are no polygon.
    """
    if not isinstance(polygon, list) or not all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in polygon
    ):
        raise InputError("a polygon holds something else than numbers", remedy=_REMEDY)
    if len(polygon) < 6 or len(polygon) % 2:
        # Four numbers are a box to pycocotools, two points to others.
        raise InputError(f"a polygon has {len(polygon)} numbers", remedy=_REMEDY)
    return [float(value) for value in polygon]


def _check_reach(outlines: Sequence[Sequence[float]], height: int, width: int) -> None:
    """Refuse points that are not pixels of this picture: fractions of it, or of another, larger one.

    Raises:
        InputError: The points reach no further than one pixel, or further beyond the picture than half its size.
    """
    reach = [max(abs(value) for polygon in outlines for value in polygon[axis::2]) for axis in (0, 1)]
    least = [min(value for polygon in outlines for value in polygon[axis::2]) for axis in (0, 1)]
    if max(reach) <= 1 < min(height, width):
        raise InputError(
            "the polygon's points lie between 0 and 1: fractions of the picture, or pixels of its very corner",
            remedy="Write them in pixels.",
        )
    for side, far, near, what in ((width, reach[0], least[0], "wide"), (height, reach[1], least[1], "high")):
        if far > 1.5 * side + 1 or near < -0.5 * side - 1:
            raise InputError(
                f"the polygon reaches to {far if far > side else near:g} in a picture that is {side} {what}",
                remedy="Its points may be those of the picture in another size.",
            )
