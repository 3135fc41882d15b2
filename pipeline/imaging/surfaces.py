"""Surfaces of masks and the distances between them: what HD95, ASSD and surface Dice are made of.

Two surfaces are in use in the field, and neither replaces the other:

- *Boundary voxels*: the centres of the voxels of a mask that have a face neighbour outside it (what lies beyond the
  image counts as outside). HD95 and ASSD are measured on them, as in MONAI, ITK and medpy.
- *Surfels*: the marching-cubes surface elements between 2×2×2 neighbouring voxels (line elements between 2×2 pixels),
  each with its area in mm² (length in mm). Surface Dice is measured on them, as in Google DeepMind's surface-distance,
  because counting voxels weighs oblique and coarse directions wrongly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Box = tuple[slice, ...]

#: Absolute normals of the surface elements, in eighths of a voxel face along each axis.
_ELEMENTS = {
    "a": (1, 1, 1),
    "b": (2, 2, 2),
    "c": (3, 3, 3),
    "x": (0, 2, 2),
    "y": (2, 0, 2),
    "z": (2, 2, 0),
    "X": (4, 0, 0),
    "Y": (0, 4, 0),
    "Z": (0, 0, 4),
}

#: Surface elements of the neighbourhoods 0 to 127 (a neighbourhood and its complement have the same area). Bit 7 - i of
#: a neighbourhood is voxel i of its 2×2×2 voxels in C order. After the table in google-deepmind/surface-distance
#: (Apache-2.0), which comes from marching cubes.
_NEIGHBOURHOODS = """
- a a zz a yy aa Xab a aa yy Xab zz Xab Xab XX a xx aa Yab aa Zab aaa aabb aa axx ayy acxy azz acxz Xaab Xab a
aa xx Yab aa ayy axx acxy aa aaa Zab aabb azz Xaab acxz Xab zz Yab Yab YY azz acyz Yaab Yab azz Yaab acyz Yab
zzzz azz azz zz a aa aa azz xx Zab axx acxz aa aaa ayy Xaab Yab aabb acxy Xab yy Zab ayy acyz Zab ZZ Zaab Zab
ayy Zaab yyyy ayy acyz Zab ayy yy aa aaa axx Yaab axx Zaab xxxx axx aaa aaaa Zaab aaa Yaab aaa axx aa Xab aabb
acxy Yab acxz Zab axx xx Xaab aaa ayy aa azz aa aa a
"""

#: Offsets looked up directly before a tree is built. 123 offsets are the ball of radius 3 voxels.
_MAX_OFFSETS = 123


def bounding_box(mask: NDArray[np.generic]) -> Box | None:
    """Smallest box that holds every non-zero voxel, or ``None`` for an empty mask.

    Args:
        mask: ``(X, Y[, Z])`` of bool or integers.
    """
    if mask.size == 0:
        return None
    # The volume is read twice, in memory order; the last axes are found on its projection along the first.
    across = mask.any(axis=tuple(range(1, mask.ndim)))
    if not across.any():
        return None
    projection = np.logical_or.reduce(mask, axis=0)
    lines = [across]
    for axis in range(projection.ndim):
        lines.append(projection.any(axis=tuple(i for i in range(projection.ndim) if i != axis)))
    return tuple(slice(int(hit[0]), int(hit[-1]) + 1) for hit in map(np.flatnonzero, lines))


def union_box(first: Box | None, second: Box | None) -> Box | None:
    """Smallest box that holds both."""
    if first is None or second is None:
        return first or second
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True))


def boundary(mask: Mask) -> Mask:
    """Voxels of ``mask`` with a face neighbour outside it; beyond the array is outside. Same shape as ``mask``."""
    inside = mask.copy()
    for axis in range(mask.ndim):
        lower, upper = _halves(mask.ndim, axis)
        inside[upper] &= mask[lower]
        inside[lower] &= mask[upper]
        for end in (0, -1):
            inside[(slice(None),) * axis + (end,)] = False
    np.logical_xor(inside, mask, out=inside)
    return inside


def _halves(ndim: int, axis: int) -> tuple[Box, Box]:
    everything = (slice(None),) * ndim
    lower = (*everything[:axis], slice(None, -1), *everything[axis + 1 :])
    upper = (*everything[:axis], slice(1, None), *everything[axis + 1 :])
    return lower, upper


def neighbourhood_codes(mask: Mask) -> NDArray[np.uint8]:
    """Which of the 2×2(×2) voxels around each voxel corner are inside, as a number.

    Args:
        mask: ``(X, Y)`` or ``(X, Y, Z)``.

    Returns:
        One larger than ``mask`` along each axis: every corner of every voxel.
    """
    codes = np.zeros(tuple(n + 1 for n in mask.shape), np.uint8)
    codes[tuple(slice(1, None) for _ in mask.shape)] = mask
    # Doubling along one axis after the other gives the sum over all corners in ndim passes rather than in 2**ndim.
    for axis in reversed(range(mask.ndim)):
        lower, upper = _halves(mask.ndim, axis)
        weight = 2 ** (2 ** (mask.ndim - 1 - axis))
        shifted = codes * np.uint8(weight)
        # codes[i] holds voxel i - 1; the corner i lies between voxels i - 1 (heavier bit) and i.
        shifted[lower] += codes[upper]
        codes = shifted
    return codes


@lru_cache(maxsize=64)
def surfel_areas(spacing: tuple[float, ...]) -> Floats:
    """Area (mm²) or length (mm) of the surface in every neighbourhood.

    Args:
        spacing: mm along each axis, two or three of them.

    Returns:
        ``(256,)`` for three axes, ``(16,)`` for two, by neighbourhood code.
    """
    if len(spacing) == 2:
        diagonal = 0.5 * float(np.hypot(*spacing))
        # Bits, from the heaviest: (0, 0), (0, 1), (1, 0), (1, 1).
        half = [0.0, diagonal, diagonal, spacing[1], diagonal, spacing[0], 2 * diagonal, diagonal]
        return np.array(half + half[::-1])
    faces = np.array([spacing[1] * spacing[2], spacing[0] * spacing[2], spacing[0] * spacing[1]])
    size = {name: float(np.linalg.norm(np.array(eighths) / 8 * faces)) for name, eighths in _ELEMENTS.items()}
    half = [sum(size[name] for name in word if name != "-") for word in _NEIGHBOURHOODS.split()]
    return np.array(half + half[::-1])


def nearest_distances(sources: Mask, targets: Mask, spacing: Sequence[float]) -> Floats:
    """Distance from every source voxel to the nearest target voxel, between voxel centres.

    Exact. Targets a few voxels away are looked up offset by offset, nearest first; what is further away goes through a
    k-d tree. Surfaces of a good segmentation lie mostly within a voxel or two of each other, so few points need it.

    Args:
        sources: Voxels to measure from, ``(X, Y[, Z])``.
        targets: Voxels to measure to, same shape, at least one of them.
        spacing: mm along each axis.

    Returns:
        ``(number of source voxels,)`` in mm, in C order of the source voxels.
    """
    space = tuple(float(s) for s in spacing)
    return _search(_Points.of(sources, space), _Points.of(targets, space), space)


def mutual_distances(first: Mask, second: Mask, spacing: Sequence[float]) -> tuple[Floats, Floats]:
    """:func:`nearest_distances` from the first to the second and from the second to the first."""
    space = tuple(float(s) for s in spacing)
    one, two = _Points.of(first, space), _Points.of(second, space)
    return _search(one, two, space), _search(two, one, space)


@dataclass(frozen=True)
class _Points:
    """Voxels of a mask, padded so that no looked-up offset leaves the array: as a flat mask and as flat indices."""

    flat: Mask
    indices: NDArray[np.intp]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, mask: Mask, spacing: tuple[float, ...]) -> _Points:
        reach = _shells(spacing)[1]
        padded = np.pad(mask, [(m, m) for m in reach])
        flat = padded.ravel()
        return cls(flat, np.flatnonzero(flat), padded.shape)

    def places(self, indices: NDArray[np.intp], spacing: tuple[float, ...]) -> Floats:
        """``(len(indices), axes)`` in mm."""
        return np.stack(np.unravel_index(indices, self.shape), axis=1) * np.array(spacing)


def _search(sources: _Points, targets: _Points, spacing: tuple[float, ...]) -> Floats:
    strides = np.cumprod((1, *sources.shape[:0:-1]))[::-1]
    points = sources.indices
    distances = np.zeros(len(points))
    rows = np.arange(len(points))
    for distance, offsets in _shells(spacing)[0]:
        hit = targets.flat[points + int(offsets[0] @ strides)]
        for offset in offsets[1:]:
            hit |= targets.flat[points + int(offset @ strides)]
        distances[rows[hit]] = distance
        points, rows = points[~hit], rows[~hit]
        if not len(points):
            return distances
    from scipy.spatial import cKDTree  # A third of a second, which most masks do not need.

    tree = cKDTree(targets.places(targets.indices, spacing), leafsize=32, compact_nodes=False, balanced_tree=False)
    distances[rows] = tree.query(sources.places(points, spacing))[0]
    return distances


@lru_cache(maxsize=64)
def _shells(spacing: tuple[float, ...]) -> tuple[list[tuple[float, NDArray[np.int64]]], tuple[int, ...]]:
    """Voxel offsets by distance, nearest first, complete up to the last one; and their reach along each axis."""
    radius = _radius(spacing)
    reach = [int(radius / s) for s in spacing]
    axes = np.meshgrid(*(np.arange(-m, m + 1) for m in reach), indexing="ij")
    offsets = np.stack([axis.ravel() for axis in axes], axis=1)
    distances = np.sqrt(((offsets * np.array(spacing)) ** 2).sum(axis=1))
    kept = distances <= radius
    offsets, distances = offsets[kept], distances[kept]
    order = np.argsort(distances, kind="stable")
    offsets, distances = offsets[order], distances[order]
    starts = np.flatnonzero(np.diff(distances, prepend=-1.0) > 0)
    groups = [
        (float(distances[start]), offsets[start:stop])
        for start, stop in zip(starts, [*starts[1:], len(offsets)], strict=True)
    ]
    return groups, tuple(reach)


def _radius(spacing: tuple[float, ...]) -> float:
    """The largest ball, in steps of the finest spacing, of no more than ``_MAX_OFFSETS`` voxels."""
    finest = min(spacing)
    steps = 1
    while True:
        volume = 1.0
        for s in spacing:
            volume *= 2 * int((steps + 1) * finest / s) + 1
        # About half of the box lies in the ball.
        if volume * 0.5 > 1.5 * _MAX_OFFSETS or steps >= 6:
            return steps * finest
        steps += 1


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances between the surfaces of two masks that both have voxels, in the unit of the spacing.

    Attributes:
        to_reference: From each boundary voxel of the prediction to the nearest of the reference.
        to_prediction: From each boundary voxel of the reference to the nearest of the prediction.
        surfels_to_reference: The same from each surfel of the prediction.
        surfels_to_prediction: The same from each surfel of the reference.
        prediction_areas: Area (length in a picture) of each surfel of the prediction.
        reference_areas: The same of the reference.
    """

    to_reference: Floats
    to_prediction: Floats
    surfels_to_reference: Floats
    surfels_to_prediction: Floats
    prediction_areas: Floats
    reference_areas: Floats

    def hausdorff(self, percentile: float = 95.0) -> float:
        """Larger of the two directed percentiles of the boundary voxels' distances (linear between ranks)."""
        return float(max(np.percentile(d, percentile) for d in (self.to_reference, self.to_prediction)))

    def average(self) -> float:
        """Average symmetric surface distance: the mean over the boundary voxels of both masks together."""
        count = len(self.to_reference) + len(self.to_prediction)
        return float((self.to_reference.sum() + self.to_prediction.sum()) / count)

    def surface_dice(self, tolerance: float) -> float:
        """Share of both surfaces' area that lies within ``tolerance`` of the other (Nikolov et al. 2018).

        A distance equal to the tolerance counts as within, also where it differs in the seventh digit: spacings are
        stored as 32-bit floats.
        """
        limit = tolerance * (1 + 1e-6)
        within = (
            self.prediction_areas[self.surfels_to_reference <= limit].sum()
            + self.reference_areas[self.surfels_to_prediction <= limit].sum()
        )
        return float(within / (self.prediction_areas.sum() + self.reference_areas.sum()))


def surface_distances(prediction: Mask, reference: Mask, spacing: Sequence[float]) -> SurfaceDistances:
    """Measure the distances between the surfaces of two masks, both with at least one voxel.

    Args:
        prediction: ``(X, Y, Z)``, or ``(X, Y)`` for a picture. The arrays are best cropped to the union of both masks.
        reference: Same shape.
        spacing: mm (or pixels) along each axis, as many as the masks have axes.
    """
    spacing = tuple(float(s) for s in spacing)
    voxels = mutual_distances(boundary(prediction), boundary(reference), spacing)
    codes = neighbourhood_codes(prediction), neighbourhood_codes(reference)
    full = 2 ** (2**prediction.ndim) - 1
    shells = [(code != 0) & (code != full) for code in codes]
    areas = surfel_areas(spacing)
    return SurfaceDistances(
        *voxels,
        *mutual_distances(shells[0], shells[1], spacing),
        areas[codes[0][shells[0]]],
        areas[codes[1][shells[1]]],
    )
