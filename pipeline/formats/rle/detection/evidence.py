"""What speaks for a reading: lawful runs, short outlines, few pieces, landmarks on outlines, edges of the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.formats.rle.codec import read_cell
from pipeline.formats.rle.detection.sample import Sample
from pipeline.formats.rle.dialects import Dialect
from pipeline.formats.rle.runs import Mask, Runs

#: How far a landmark may lie from an outline, in pixels: landmarks are rounded, outlines are drawn by pixel centres.
_NEAR = 2
#: A picture of unknown size is taken for one line that is longer than any.
_ENDLESS = 2**40
_UNKNOWN = (np.nan,) * 5

Gradients = Callable[[str], NDArray[np.float32] | None]


@dataclass
class Evidence:
    """What a sample says about one reading; ``NaN`` and ``None`` where it says nothing.

    Attributes:
        valid: For each cell, whether it is lawful.
        outline: For each cell, the length of the object's outline in pixel sides.
        pieces: For each cell, the number of pieces, joined by sides or corners.
        lines: For each cell, the number of runs, cut at the ends of lines.
        raggedness: For each cell, the squared outline over area and pieces: 16 for a square, more for what is ragged.
        thickness: For each cell, the mean length of its runs, along rows or columns, whichever is shorter.
        landmarks: For each row with landmarks, the share of them on the outlines.
        edges: For each cell with a picture, the mean rank (0 to 1) of the picture's gradient on the outline.
        area: For each cell with an area beside it, whether it agrees.
    """

    valid: list[bool] = field(default_factory=list)
    outline: list[float] = field(default_factory=list)
    pieces: list[float] = field(default_factory=list)
    lines: list[float] = field(default_factory=list)
    raggedness: list[float] = field(default_factory=list)
    thickness: list[float] = field(default_factory=list)
    landmarks: list[float] = field(default_factory=list)
    edges: list[float] = field(default_factory=list)
    area: list[bool] = field(default_factory=list)


def weigh(cells: list[Sample], reading: Dialect, size: tuple[int, int] | None, gradients: Gradients) -> Evidence:
    """Read every cell in one way.

    Args:
        cells: The sample.
        reading: The way.
        size: Size where the file does not say it and the reading implies one.
        gradients: Gives the ranks of a picture's gradient, ``(height, width)`` in 0 to 1, by image id.
    """
    evidence = Evidence()
    by_row: dict[int, tuple[Sample, list[Runs]]] = {}
    for cell in cells:
        height, width = cell.size or size or (1, _ENDLESS)
        try:
            runs, _ = read_cell(cell.text, height, width, reading)
        except InputError:
            runs = None
        evidence.valid.append(runs is not None)
        known = runs is not None and width != _ENDLESS
        figures = _shape(runs) if runs is not None and known else _UNKNOWN
        evidence.outline.append(figures[0])
        evidence.pieces.append(figures[1])
        evidence.lines.append(figures[2])
        evidence.thickness.append(figures[3])
        evidence.raggedness.append(figures[4])
        evidence.edges.append(_edge_rank(runs, gradients(cell.scan_id)) if runs is not None and known else np.nan)
        if cell.area is not None and runs is not None:
            evidence.area.append(abs(runs.area - cell.area) < 1)
        if cell.landmarks and runs is not None and known:
            by_row.setdefault(cell.row, (cell, []))[1].append(runs)
    evidence.landmarks = [_on_outline(cell, masks) for cell, masks in list(by_row.values())[:20]]
    return evidence


def _shape(runs: Runs) -> tuple[float, ...]:
    """Length of the outline, number of pieces, runs cut at the ends of lines, thickness, raggedness."""
    line, begin, end = runs.merged().segments()
    other = runs.to_order("row" if runs.order == "column" else "column").segments()[0]
    outline = 2.0 * (line.size + other.size)
    pieces = float(_pieces(line, begin, end))
    thickness = runs.area / max(line.size, other.size, 1)
    return outline, pieces, float(line.size), thickness, outline**2 / max(runs.area * pieces, 1)


def _pieces(line: NDArray[np.int64], begin: NDArray[np.int64], end: NDArray[np.int64]) -> int:
    """Number of pieces of segments sorted by line; segments of neighbouring lines join by sides and corners."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = line.size
    if not count:
        return 0
    stride = int(end.max()) + 2
    # Segments of the next line that end at or after this one's begin, and begin at or before its end, touch it.
    first = np.searchsorted(line * stride + end, (line + 1) * stride + begin, side="left")
    last = np.searchsorted(line * stride + begin, (line + 1) * stride + end, side="right")
    touching = np.maximum(last - first, 0)
    upper = np.repeat(np.arange(count), touching)
    lower = np.repeat(first - np.cumsum(touching) + touching, touching) + np.arange(upper.size)
    graph = coo_array((np.ones(upper.size, np.bool_), (upper, lower)), shape=(count, count))
    return int(connected_components(graph, directed=False)[0])


def outline_of(mask: Mask) -> Mask:
    """Pixels of the object that have a neighbour by a side outside it."""
    from scipy.ndimage import binary_erosion

    return np.asarray(mask & ~binary_erosion(mask), np.bool_)


def _on_outline(cell: Sample, masks: list[Runs]) -> float:
    from scipy.ndimage import maximum_filter

    near = np.zeros((masks[0].height, masks[0].width), np.bool_)
    for runs in masks:
        near |= outline_of(runs.paint())
    near = maximum_filter(near, size=2 * _NEAR + 1)
    points = np.round(np.array(cell.landmarks)).astype(int)
    inside = (points >= 0).all(axis=1) & (points[:, 0] < near.shape[1]) & (points[:, 1] < near.shape[0])
    return float(near[points[inside, 1], points[inside, 0]].sum() / len(points))


def _edge_rank(runs: Runs, ranks: NDArray[np.float32] | None) -> float:
    if ranks is None or ranks.shape != (runs.height, runs.width) or not runs.count:
        return np.nan
    outline = outline_of(runs.paint())
    # The border of the picture is no edge of an object in it.
    outline[[0, -1], :] = False
    outline[:, [0, -1]] = False
    return float(ranks[outline].mean()) if outline.sum() >= 20 else np.nan


def gradient_ranks(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    """Rank of the gradient's length at each pixel of a ``(height, width)`` picture, 0 to 1."""
    from scipy.ndimage import gaussian_gradient_magnitude
    from scipy.stats import rankdata

    length = gaussian_gradient_magnitude(pixels.astype(np.float32), 1.5)
    return (rankdata(length, method="average") / length.size).reshape(length.shape).astype(np.float32)
