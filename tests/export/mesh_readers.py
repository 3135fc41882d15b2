"""Reads surfaces back: a correct surface encloses the centres of exactly the voxels that it was made of.

A surface that runs half-way between voxels cuts corners, so that its volume is that of the voxels only for large and
smooth organs: a single voxel becomes an octahedron of a sixth of its volume. What every correct surface promises,
however ragged the mask, is which voxel centres lie inside, and that is what is read here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap
from pipeline.export.checks import ABSENT, Measured, measured

# Rays run a little beside the voxel centres, so that none meets an edge of a triangle, whose corners are at halves.
ASIDE = np.array([0.0100, 0.0173])
ROUNDING = 1e-2  # voxels; float32 keeps a thousandth at 500 mm

Triangles = NDArray[np.float64]  # (M, 3 corners, 3 coordinates)


def read_surfaces(files: Mapping[str, Path], labels: LabelMap) -> dict[str, Measured]:
    """Organs of STL or PLY files, as the voxels whose centres their surfaces enclose.

    Args:
        files: Organ → file.
        labels: Gives the grid whose voxels are asked for; its organs are not looked at.

    Raises:
        InputError: A file is not a surface file, or its surface reaches beyond the scan.
    """
    found = {}
    for organ, path in files.items():
        corners = READERS[path.suffix](path)
        found[organ] = _measured(corners, labels) if len(corners) else ABSENT
    return found


def _measured(corners: Triangles, labels: LabelMap) -> Measured:
    affine = np.asarray(labels.affine, float)
    inverse = np.linalg.inv(affine)
    places = corners @ inverse[:3, :3].T + inverse[:3, 3]
    shape = labels.grid.shape
    if places.min() < -0.5 - ROUNDING or (places.max(axis=(0, 1)) > np.array(shape) - 0.5 + ROUNDING).any():
        raise InputError("the surface reaches beyond the scan")
    if np.linalg.det(affine[:3, :3]) < 0:
        # Seen in a mirrored grid, corners that ran counter-clockwise run clockwise.
        places = places[:, ::-1]
    # The box of the surface alone; with a slice more, so that a thin organ is not taken for a picture.
    low = np.maximum(np.floor(places.min(axis=(0, 1))), 0).astype(int)
    high = np.minimum(np.ceil(places.max(axis=(0, 1))).astype(int) + 1, shape)
    placed = affine.copy()
    placed[:3, 3] += affine[:3, :3] @ low
    x, y, z = (int(side) for side in high - low)
    inside = measured(enclosed(places - low, (x, y, z)), placed)
    # Corners lie half-way between voxels: what they are off by, the whole surface was moved by.
    moved = np.median((places - np.round(2 * places) / 2).reshape(-1, 3), axis=0)
    return Measured(inside.centroid + affine[:3, :3] @ moved, inside.size)


def enclosed(corners: Triangles, shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Voxels whose centres lie inside a surface, by how often a ray along the last axis enters it.

    Args:
        corners: Triangles ``(M, 3, 3)`` in voxel indices, counter-clockwise seen from outside. Each lies within one
            cell between eight voxel centres, as those of marching cubes do.
        shape: ``(X, Y, Z)`` of the grid.
    """
    cell = np.floor(corners[..., :2].min(axis=1) + ROUNDING)
    local = corners[..., :2] - (cell + ASIDE)[:, None]
    # Twice the signed area of the ray with each side: one sign throughout, and the ray passes through the triangle.
    ahead = np.roll(local, -1, axis=1)
    areas = local[..., 0] * ahead[..., 1] - local[..., 1] * ahead[..., 0]
    total = areas.sum(axis=1)
    within = ((cell >= 0) & (cell < np.array(shape[:2]))).all(axis=1)
    hit = within & ((areas > 0).all(axis=1) | (areas < 0).all(axis=1))
    areas, total, cell = areas[hit], total[hit], cell[hit].astype(int)
    # Each corner weighs by the area opposite to it.
    height = (np.roll(areas, -1, axis=1) * corners[hit, :, 2]).sum(axis=1) / total
    first = np.clip(np.ceil(height).astype(int), 0, shape[2])
    entries = np.zeros((shape[0], shape[1], shape[2] + 1), np.int32)
    # A face seen from above is left by a rising ray, one seen from below is entered.
    np.add.at(entries, (cell[:, 0], cell[:, 1], first), np.where(total > 0, -1, 1))
    return np.asarray(np.cumsum(entries, axis=2, out=entries)[..., :-1] > 0)


def _stl(path: Path) -> Triangles:
    """Triangles of a binary STL file (M. Burns, Automated Fabrication, 1993, section 6.5)."""
    content = path.read_bytes()
    count = int.from_bytes(content[80:84], "little")
    if len(content) != 84 + 50 * count:
        raise InputError("is not a whole binary STL file")
    floats = np.frombuffer(content, np.uint8, offset=84).reshape(count, 50)[:, 12:48].copy().view("<f4")
    return floats.reshape(count, 3, 3).astype(np.float64)


def _ply(path: Path) -> Triangles:
    """Triangles of a little-endian PLY file, by what its header says (G. Turk, The PLY Polygon File Format, 1994)."""
    head, mark, body = path.read_bytes().partition(b"end_header\n")
    lines = [line.split() for line in head.decode("ascii", "replace").splitlines()]
    if not mark or ["format", "binary_little_endian", "1.0"] not in lines:
        raise InputError("is not a binary PLY file")
    kinds = {"float": "<f4", "uchar": "u1", "int": "<i4"}
    counts = {line[1]: int(line[2]) for line in lines if line[0] == "element"}
    first = next(i for i, line in enumerate(lines) if line[:2] == ["element", "vertex"]) + 1
    last = next(i for i, line in enumerate(lines) if line[:2] == ["element", "face"])
    vertex = np.dtype([(line[2], kinds[line[1]]) for line in lines[first:last]])
    face = np.dtype([("count", "u1"), ("corners", "<i4", 3)])
    size = counts["vertex"] * vertex.itemsize
    if len(body) != size + counts["face"] * face.itemsize:
        raise InputError("is not a whole PLY file of triangles")
    points = np.frombuffer(body, vertex, counts["vertex"])
    faces = np.frombuffer(body, face, counts["face"], size)["corners"]
    return np.stack([points[axis] for axis in "xyz"], -1).astype(np.float64)[faces]


READERS: dict[str, Callable[[Path], Triangles]] = {".stl": _stl, ".ply": _ply}
