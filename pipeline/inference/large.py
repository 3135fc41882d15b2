"""Scans too large for memory: prepared and restored slab by slab, with what is long in unnamed files.

What is done is what :mod:`pipeline.imaging.preprocessing` does; only the statistics of the normalisation are taken
from an evenly thinned scan, where the scan is long on the plan's grid too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import CHUNK, ROOM, zeros
from pipeline.core.plan import Plan
from pipeline.core.scan import Array, Scan
from pipeline.imaging.normalisation import full_scale_of, normalise
from pipeline.imaging.preprocessing import Prepared, prepare, prepared_shape
from pipeline.imaging.resampling import axis_weights, resample, resampled_grid

PROXY = 8_000_000  # voxels of the thinned scan


def chunks(array: Array, source: tuple[int, ...] = (0,)) -> Iterator[slice]:
    """Rows of the second axis of ``(K, X, Y, Z)`` that hold little enough to be worked on at once.

    Args:
        array: What is worked on.
        source: Shape ``(C, X', Y', Z')`` of what the rows are made of, where that is more.
    """
    channels, size, *others = array.shape
    a_row = max(channels * prod(others), prod(source) // size)
    rows = max(CHUNK // (4 * a_row), 1)
    return (slice(start, min(start + rows, size)) for start in range(0, size, rows))


def prepare_within(scan: Scan, plan: Plan, room: int = ROOM) -> Prepared:
    """:func:`~pipeline.imaging.preprocessing.prepare`, slab by slab where the result takes more than ``room``.

    Raises:
        InputError: As there.
    """
    scan = scan.canonical()
    shape = prepared_shape(scan.grid, plan)
    channels = scan.voxels.shape[0]
    if 4 * channels * max(prod(shape), prod(scan.shape)) <= room:
        return prepare(scan, plan)
    # A few voxels go through the ordinary way, which refuses what does not fit the model.
    prepare(replace(scan, voxels=scan.voxels[:, :2, :2, :2]), plan)
    image = zeros((channels, *shape), room)
    for rows in chunks(image, scan.voxels.shape):
        image[:, rows] = np.nan_to_num(_resample_rows(scan.voxels, shape, rows), posinf=0.0, neginf=0.0)
    grid = resampled_grid(scan.grid, shape)
    if image.nbytes <= room // 4:
        image = normalise(image, plan.normalisation, full_scale=full_scale_of(scan.voxels))
        return Prepared(image, grid, scan.grid)
    step = max(int(np.ceil((np.prod(shape) / PROXY) ** (1 / 3))), 1)
    thinned = np.ascontiguousarray(image[:, ::step, ::step, ::step])
    lines = _lines(thinned, normalise(thinned, plan.normalisation, full_scale=full_scale_of(scan.voxels)))
    for rows in chunks(image):
        for channel, (slope, offset, low, high) in enumerate(lines):
            image[channel, rows] = np.clip(slope * image[channel, rows] + offset, low, high)
    return Prepared(image, grid, scan.grid)


def _lines(before: Array, after: Array) -> list[tuple[np.float32, np.float32, np.float32, np.float32]]:
    """Each channel's normalisation as slope, offset and bounds: every rule is a straight line between two clips."""
    lines = []
    for raw, done in zip(before.astype(np.float32), after, strict=True):
        low, high = done.min(), done.max()
        inner = (done > low) & (done < high)
        if not inner.any():
            inner = np.ones(done.shape, bool)
        first, last = raw[inner].argmin(), raw[inner].argmax()
        x0, x1 = float(raw[inner][first]), float(raw[inner][last])
        y0, y1 = float(done[inner][first]), float(done[inner][last])
        slope = (y1 - y0) / (x1 - x0) if x1 > x0 else 0.0
        lines.append((np.float32(slope), np.float32(y0 - slope * x0), low, high))
    return lines


def _resample_rows(array: Array, shape: tuple[int, int, int], rows: slice) -> NDArray[np.float32]:
    """Rows of ``resample(array, shape)`` along the first spatial axis, reading only what they are made of."""
    before = array.shape[1]
    if before == shape[0]:
        return resample(array[:, rows], (rows.stop - rows.start, *shape[1:]))
    weights = axis_weights(before, shape[0])[rows]
    first, last = int(weights.indices.min()), int(weights.indices.max()) + 1
    part = np.asarray(array[:, first:last], np.float32)
    own = weights[:, first:last]
    mixed = np.stack([(own @ channel.reshape(last - first, -1)).reshape(-1, *channel.shape[1:]) for channel in part])
    return resample(mixed, (mixed.shape[1], *shape[1:]))


def restore_rows(
    probabilities: Array, shape: tuple[int, int, int], rows: slice, room: int = ROOM
) -> NDArray[np.float32]:
    """Rows of :func:`~pipeline.imaging.resampling.resample` along the first axis, ``(K, rows, Y, Z)``.

    Args:
        probabilities: ``(K, X', Y', Z')`` on the plan's grid.
        shape: Shape of the scan.
        rows: Which rows of the scan.
        room: Bytes of probabilities beyond which only what the rows are made of is read, as it is of some rows.
    """
    whole = rows == slice(0, shape[0])
    if whole and probabilities.nbytes <= room:
        return resample(probabilities, shape)
    return _resample_rows(probabilities, shape, rows)
