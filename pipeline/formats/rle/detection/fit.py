"""What speaks for a reading: lawful runs, short outlines, few pieces, landmarks on outlines, edges of the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.formats.rle.cell import Size
from pipeline.formats.rle.codec import read_text
from pipeline.formats.rle.detection.sample import Sample
from pipeline.formats.rle.dialects import Dialect
from pipeline.formats.rle.edges import Mask
from pipeline.formats.rle.runs import Runs

#: How far a landmark may lie from an outline, in pixels: landmarks are rounded, outlines are drawn by pixel centres.
_NEAR = 2
#: A picture of unknown size is taken for one line that is longer than any.
_ENDLESS = 2**40

Floats = NDArray[np.float64]
Gradients = Callable[[str], NDArray[np.float32] | None]


@dataclass(frozen=True)
class Fit:
    """How well one reading fits ``C`` cells; ``NaN`` where a cell says nothing.

    Attributes:
        valid: ``(C,)`` whether the cell is lawful.
        outline: ``(C,)`` length of the object's outline in pixel sides.
        pieces: ``(C,)`` number of pieces, joined by sides or corners.
        lines: ``(C,)`` number of runs, cut at the ends of lines.
        thickness: ``(C,)`` mean length of its runs, along rows or columns, whichever is shorter.
        raggedness: ``(C,)`` squared outline over area and pieces: 16 for a square, more for what is ragged.
        edges: ``(C,)`` mean rank (0 to 1) of the picture's gradient on the outline.
        area: For each cell with an area beside it, whether it agrees.
        landmarks: For each row with landmarks, the share of them on the outlines.
    """

    valid: NDArray[np.bool_]
    outline: Floats
    pieces: Floats
    lines: Floats
    thickness: Floats
    raggedness: Floats
    edges: Floats
    area: NDArray[np.bool_]
    landmarks: Floats

    @property
    def unlawful(self) -> float:
        """Share of the cells that are not lawful."""
        return 1 - float(self.valid.mean())


def fit(cells: list[Sample], reading: Dialect, size: Size | None, gradients: Gradients) -> Fit:
    """Read every cell in one way.

    Args:
        cells: The sample.
        reading: The way.
        size: Size where the file does not say it and the reading implies one.
        gradients: Gives the ranks of a picture's gradient, ``(height, width)`` in 0 to 1, by image id.
    """
    valid = np.zeros(len(cells), np.bool_)
    figures = np.full((6, len(cells)), np.nan)
    areas: list[bool] = []
    by_row: dict[int, tuple[Sample, list[Runs]]] = {}
    for n, cell in enumerate(cells):
        height, width = cell.size or size or (1, _ENDLESS)
        try:
            runs, _ = read_text(cell.text, height, width, reading)
        except InputError:
            continue
        valid[n] = True
        if cell.area is not None:
            areas.append(abs(int(runs.lengths.sum()) - cell.area) < 1)
        if width == _ENDLESS:
            continue
        figures[:, n] = *_shape(runs), _edge_rank(runs, gradients(cell.scan_id))
        if cell.landmarks:
            by_row.setdefault(cell.row, (cell, []))[1].append(runs)
    landmarks = [_on_outline(cell, masks) for cell, masks in list(by_row.values())[:20]]
    outline, pieces, lines, thickness, raggedness, edges = figures
    return Fit(
        valid,
        outline,
        pieces,
        lines,
        thickness,
        raggedness,
        edges,
        np.array(areas, np.bool_),
        np.array(landmarks, float),
    )


def _shape(runs: Runs) -> tuple[float, ...]:
    """The first five figures of :class:`Fit`, from the outline to the raggedness."""
    line, begin, end = runs.merged().segments()
    other = runs.to_order("row" if runs.order == "column" else "column").segments()[0]
    area, outline, pieces = int(runs.lengths.sum()), 2.0 * (line.size + other.size), float(_pieces(line, begin, end))
    return outline, pieces, float(line.size), area / max(line.size, other.size, 1), outline**2 / max(area * pieces, 1)


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


def _outline_of(mask: Mask) -> Mask:
    """Pixels of the object that have a neighbour by a side outside it."""
    from scipy.ndimage import binary_erosion

    return np.asarray(mask & ~binary_erosion(mask), np.bool_)


def _on_outline(cell: Sample, masks: list[Runs]) -> float:
    from scipy.ndimage import maximum_filter

    near = np.zeros(masks[0].shape, np.bool_)
    for runs in masks:
        near |= _outline_of(runs.paint())
    near = maximum_filter(near, size=2 * _NEAR + 1)
    points = np.round(np.array(cell.landmarks)).astype(int)
    inside = (points >= 0).all(axis=1) & (points[:, 0] < near.shape[1]) & (points[:, 1] < near.shape[0])
    return float(near[points[inside, 1], points[inside, 0]].sum() / len(points))


def _edge_rank(runs: Runs, ranks: NDArray[np.float32] | None) -> float:
    if ranks is None or ranks.shape != runs.shape or not runs.starts.size:
        return np.nan
    outline = _outline_of(runs.paint())
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
