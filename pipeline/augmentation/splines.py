"""Smooth random fields: cubic B-splines through a few control points, evaluated axis by axis."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


def smooth_field(controls: Tensor, spatial: Sequence[int]) -> Tensor:
    """Evaluate uniform cubic B-splines at voxel centres.

    Args:
        controls: ``(B, C, n, n[, n])`` values at the control points, 4 or more along each axis.
        spatial: Voxels along each axis.

    Returns:
        ``(B, C, *spatial)``, contiguous.
    """
    field = controls
    for axis, size in enumerate(spatial, start=2):
        basis = _basis(size, controls.shape[axis]).to(field)
        # The axis at hand is consumed and comes out last, so the next one moves to its place.
        field = torch.tensordot(field, basis, ([2], [1]))
    return field.contiguous()


@lru_cache(maxsize=64)
def _basis(size: int, points: int) -> Tensor:
    """``(size, points)`` weights of the control points at each voxel; each row sums to 1."""
    place = (torch.arange(size, dtype=torch.float64) + 0.5) / size * (points - 3)
    first = place.floor().clamp(max=points - 4)
    t = place - first
    weights = torch.stack(((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3), 1) / 6
    basis = torch.zeros(size, points, dtype=torch.float64)
    return basis.scatter_(1, first.long().unsqueeze(1) + torch.arange(4), weights).float()
