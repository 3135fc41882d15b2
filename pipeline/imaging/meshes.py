"""Surfaces of organs as triangles, in millimetres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.scan import Array
from pipeline.imaging.surfaces import bounding_box


@dataclass(frozen=True)
class Mesh:
    """A closed surface.

    Attributes:
        points: ``(N, 3)`` float32, RAS+ mm.
        faces: ``(M, 3)`` int32 indices of points, counter-clockwise seen from outside.
    """

    points: NDArray[np.float32]
    faces: NDArray[np.int32]

    def volume(self) -> float:
        """Enclosed volume, mm³ (divergence theorem)."""
        a, b, c = (self.points[self.faces[:, i]].astype(np.float64) for i in range(3))
        return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)

    def centroid(self) -> NDArray[np.float64]:
        """Centre of gravity of what is enclosed, mm."""
        middle = self.points.mean(axis=0, dtype=np.float64)
        a, b, c = (self.points[self.faces[:, i]].astype(np.float64) - middle for i in range(3))
        parts = np.einsum("ij,ij->i", a, np.cross(b, c)) / 6
        weighted: NDArray[np.float64] = ((a + b + c) / 4 * parts[:, None]).sum(axis=0)
        return weighted / parts.sum() + middle


def surface(mask: Array, affine: Array) -> Mesh | None:
    """The surface of a mask, half-way between inside and outside voxels.

    Args:
        mask: ``(X, Y, Z)`` boolean.
        affine: 4×4, voxel index → RAS+ mm.

    Returns:
        ``None`` for an empty mask.

    Source: Lewiner et al., Efficient implementation of marching cubes' cases (2003), in scikit-image.
    """
    from skimage.measure import marching_cubes

    inside = bounding_box(mask)
    if inside is None:
        return None
    low = np.array([axis.start for axis in inside])
    box = np.pad(mask[inside], 1).astype(np.float32)
    points, faces, _, _ = marching_cubes(box, 0.5)
    affine = np.asarray(affine, float)
    placed = (points + low - 1) @ affine[:3, :3].T + affine[:3, 3]
    mesh = Mesh(placed.astype(np.float32), np.ascontiguousarray(faces, np.int32))
    return mesh if mesh.volume() > 0 else Mesh(mesh.points, np.ascontiguousarray(mesh.faces[:, ::-1]))
