"""Surfaces enclose what their masks hold, with outward faces, on any grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.formats.surfaces import write_ply, write_stl
from pipeline.imaging.meshes import Mesh, surface


def ball(radius: float = 8) -> np.ndarray:
    place = np.indices((24, 22, 20)) - np.array([11, 10, 9])[:, None, None, None]
    return (place**2).sum(0) <= radius**2


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1)])
def test_volume_and_centroid_of_a_ball(signs: tuple[int, int, int]) -> None:
    affine = np.diag([*np.multiply(signs, [0.5, 1.0, 2.0]), 1.0])
    affine[:3, 3] = [10, -20, 30]
    mesh = surface(ball(), affine)
    assert mesh is not None
    assert mesh.volume() == pytest.approx(ball().sum(), rel=0.05)
    np.testing.assert_allclose(mesh.centroid(), (affine @ [11, 10, 9, 1])[:3], atol=0.05)


def test_an_organ_at_the_border_is_closed() -> None:
    mask = np.zeros((4, 4, 4), bool)
    mask[:2] = True
    mesh = surface(mask, np.eye(4))
    assert mesh is not None
    edges = np.sort(np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert set(counts) == {2}


def test_nothing_has_no_surface() -> None:
    assert surface(np.zeros((3, 3, 3), bool), np.eye(4)) is None


def test_files_hold_the_surface(tmp_path: Path) -> None:
    mesh = surface(ball(4), np.eye(4))
    assert mesh is not None
    write_stl(tmp_path / "a.stl", mesh)
    stored = (tmp_path / "a.stl").read_bytes()
    triangles = np.frombuffer(stored, np.dtype([("all", "<f4", (4, 3)), ("attribute", "<u2")]), offset=84)
    assert int.from_bytes(stored[80:84], "little") == len(triangles) == len(mesh.faces)
    corners = triangles["all"][:, 1:].reshape(-1, 3)
    read = Mesh(corners, np.arange(len(corners), dtype=np.int32).reshape(-1, 3))
    assert read.volume() == pytest.approx(mesh.volume(), rel=1e-5)
    np.testing.assert_allclose(read.centroid(), mesh.centroid(), atol=1e-4)
    write_ply(tmp_path / "a.ply", mesh, (255, 0, 1))
    head, _, body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")
    assert f"element vertex {len(mesh.points)}".encode() in head
    assert len(body) == 15 * len(mesh.points) + 13 * len(mesh.faces)
