"""Burned-in borders of radiographs: the blank frame that a collimator leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.core.scan import Array, Scan

#: A line belongs to the border while its grey values spread over less than this share of the picture's range.
_FLAT = 0.02
#: At least this share of each side is kept: more than that is no border.
_KEPT = 0.5


def crop_borders(scan: Scan) -> Scan:
    """Cut lines off the picture's edges while they are one flat grey, black or white.

    ``notes["cropped"]`` then holds ``[left, top, right, bottom]`` in pixels, ``notes["border"]`` the grey of each;
    ``stored`` keeps the uncut grid.
    """
    picture = scan.voxels[0, :, :, 0].astype(np.float64)
    low, high = np.percentile(picture, [1, 99])
    if high <= low:
        return scan
    span = high - low
    left, right = _flat_ends(picture, low, high, span)
    top, bottom = _flat_ends(picture.T, low, high, span)
    if not any((left, right, top, bottom)):
        return scan
    return cropped(replace(scan, stored=scan.stored or scan.grid), [left, top, right, bottom])


def cropped(scan: Scan, edges: list[int]) -> Scan:
    """The scan without ``[left, top, right, bottom]`` pixels, at its place."""
    left, top, right, bottom = edges
    _, width, height, _ = scan.voxels.shape
    affine = scan.affine.copy()
    affine[:3, 3] += affine[:3, 0] * left + affine[:3, 1] * top
    voxels = scan.voxels[:, left : width - right, top : height - bottom]
    notes = {**scan.notes, "cropped": edges, "border": [_grey(part) for part in _bands(scan.voxels, edges)]}
    return replace(scan, voxels=np.ascontiguousarray(voxels), affine=affine, notes=notes)


def uncropped(scan: Scan) -> Scan:
    """The scan as its file shows it: the borders that were cut off are there again, each of them in one grey."""
    edges = scan.notes.get("cropped")
    if edges is None or scan.stored is None:
        return scan
    voxels = scan.to_stored(scan.voxels).copy()
    for part, grey in zip(_bands(voxels, edges), scan.notes["border"], strict=True):
        part[...] = grey
    notes = {name: value for name, value in scan.notes.items() if name not in {"cropped", "border"}}
    return replace(scan, voxels=voxels, affine=scan.stored.affine, notes=notes)


def _bands(voxels: Array, edges: list[int]) -> list[Array]:
    """Views of what lies left, above, right and below, without the corners twice; ``voxels`` are uncut."""
    left, top, right, bottom = edges
    _, width, height, _ = voxels.shape
    middle = voxels[:, left : width - right]
    return [voxels[:, :left], middle[:, :, :top], voxels[:, width - right :], middle[:, :, height - bottom :]]


def _grey(band: Array) -> float:
    """The median, as a value that occurs in the picture; 0 where there is no band."""
    return float(np.percentile(band, 50, method="nearest")) if band.size else 0.0


def _flat_ends(picture: Array, low: float, high: float, span: float) -> tuple[int, int]:
    """How many lines along the first axis are border, at its start and at its end."""
    spread = np.percentile(picture, 98, axis=1) - np.percentile(picture, 2, axis=1)
    middle = np.median(picture, axis=1)
    extreme = (middle <= low + _FLAT * span) | (middle >= high - _FLAT * span)
    flat = (spread <= _FLAT * span) & extreme
    start = int(np.argmin(flat)) if not flat.all() else 0
    end = int(np.argmin(flat[::-1])) if not flat.all() else 0
    return (start, end) if start + end <= (1 - _KEPT) * len(flat) else (0, 0)
