"""Separable linear resampling between voxel grids that share their outer borders; anti-aliased where it shrinks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pipeline.core.scan import Array, Grid


@lru_cache(maxsize=256)
def axis_weights(before: int, after: int) -> sparse.csr_matrix:
    """Weights ``(after, before)`` that bring one axis from ``before`` to ``after`` samples.

    A triangle filter about the new sample's centre, as wide as the coarser of the two samplings: plain linear
    interpolation where the axis grows, and a weighted mean without aliasing where it shrinks. Rows sum to 1, so the
    border is repeated rather than faded.

    Source: the resampling of Pillow and of "filter kernels" in Turkowski, Filters for common resampling tasks (1990).
    """
    scale = before / after
    support = max(scale, 1.0)
    centres = (np.arange(after) + 0.5) * scale - 0.5
    first = np.floor(centres - support).astype(int)
    columns = first[:, None] + np.arange(int(np.ceil(2 * support)) + 2)
    weights = np.clip(1 - np.abs(columns - centres[:, None]) / support, 0, None)
    weights[(columns < 0) | (columns >= before)] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    rows = np.broadcast_to(np.arange(after)[:, None], columns.shape)
    keep = weights > 0
    matrix = sparse.csr_matrix((weights[keep], (rows[keep], columns[keep])), shape=(after, before))
    return matrix.astype(np.float32)


def resample(array: Array, shape: Sequence[int]) -> NDArray[np.float32]:
    """Resample the last three axes of ``array`` to ``shape``, both grids having the same outer borders.

    Args:
        array: ``(…, X, Y, Z)`` of any real dtype.
        shape: New ``(X, Y, Z)``.

    Returns:
        ``(…, X', Y', Z')`` float32.
    """
    result = np.asarray(array, np.float32)
    lead = result.ndim - 3
    sizes = result.shape[lead:]
    # The axis that shrinks most goes first: the others then have less to do.
    for axis in sorted(range(3), key=lambda a: (shape[a] / sizes[a], a)):
        if sizes[axis] == shape[axis]:
            continue
        moved = np.moveaxis(result, lead + axis, 0)
        flat = axis_weights(sizes[axis], int(shape[axis])) @ np.ascontiguousarray(moved).reshape(moved.shape[0], -1)
        result = np.moveaxis(flat.reshape(flat.shape[0], *moved.shape[1:]), 0, lead + axis)
    return np.ascontiguousarray(result)


def resampled_grid(grid: Grid, shape: Sequence[int]) -> Grid:
    """The grid of ``shape`` voxels that fills the same box as ``grid``."""
    factors = np.array(grid.shape, float) / np.array(shape, float)
    step = np.diag([*factors, 1.0])
    step[:3, 3] = factors / 2 - 0.5
    x, y, z = (int(n) for n in shape)
    return Grid((x, y, z), np.asarray(grid.affine, float) @ step)
