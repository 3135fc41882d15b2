"""Triangle surfaces as STL and PLY files, binary, in RAS+ millimetres."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.core.files import write_bytes
from pipeline.imaging.meshes import Mesh

# 3D Slicer and its kin read the axes from this word; without it they take LPS.
SPACE = "SPACE=RAS"
_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])


def write_stl(path: Path, mesh: Mesh) -> None:
    """Write a binary STL file."""
    triangles = np.zeros(len(mesh.faces), _TRIANGLE)
    triangles["corners"] = mesh.points[mesh.faces]
    a, b, c = (triangles["corners"][:, i] for i in range(3))
    normals = np.cross(b - a, c - a)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    triangles["normal"] = normals / np.where(lengths > 0, lengths, 1)
    head = f"organseg {SPACE} mm".encode().ljust(80, b" ")
    write_bytes(path, head + np.uint32(len(triangles)).astype("<u4").tobytes() + triangles.tobytes())


def write_ply(path: Path, mesh: Mesh, color: tuple[int, int, int]) -> None:
    """Write a binary PLY file with one colour."""
    points = np.zeros(len(mesh.points), [("place", "<f4", 3), ("color", "u1", 3)])
    points["place"], points["color"] = mesh.points, color
    faces = np.zeros(len(mesh.faces), _FACE)
    faces["count"], faces["corners"] = 3, mesh.faces
    head = (
        "ply\nformat binary_little_endian 1.0\n"
        f"comment {SPACE} mm\nelement vertex {len(points)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    write_bytes(path, head.encode() + points.tobytes() + faces.tobytes())
