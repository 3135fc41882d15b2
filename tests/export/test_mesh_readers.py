"""Surfaces are read back as the voxels that they enclose: any mask passes, and any change of the file is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap
from pipeline.export.checks import Tolerance, compare, expected
from pipeline.formats.surfaces import write_ply, write_stl
from pipeline.imaging.meshes import Mesh, surface
from tests.export.mesh_readers import enclosed, read_surfaces

#: An oblique, mirrored grid far from the origin.
OBLIQUE = np.array([[-0.4, 0.1, 0.0, 310.0], [0.05, 0.7, 0.3, -420.0], [0.0, -0.2, 1.9, 155.0], [0, 0, 0, 1]])
Change = Callable[[Mesh], Mesh]


def ragged(seed: int, share: float = 0.4, shape: tuple[int, int, int] = (9, 8, 7)) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=shape) < share


def labels_of(mask: np.ndarray, affine: np.ndarray) -> LabelMap:
    return LabelMap.from_masks({"a": mask}, affine, ["a"], overlapping=False)


def verdict(folder: Path, mask: np.ndarray, affine: np.ndarray, change: Change = lambda mesh: mesh) -> list[dict]:
    """Rows of both files after a change of the surface between mask and file."""
    mesh = surface(mask, affine)
    assert mesh is not None
    write_stl(folder / "a.stl", change(mesh))
    write_ply(folder / "a.ply", change(mesh), (1, 2, 3))
    labels = labels_of(mask, affine)
    return [
        row
        for form in ("stl", "ply")
        for row in compare(
            "s", form, expected(labels), read_surfaces({"a": folder / f"a.{form}"}, labels), labels, Tolerance()
        )
    ]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 1.0), st.tuples(*[st.integers(1, 7)] * 3))
def test_a_surface_encloses_its_voxels(seed: int, share: float, shape: tuple[int, int, int]) -> None:
    mask = ragged(seed, share, shape)
    mesh = surface(mask, np.eye(4))
    if mesh is None:
        return
    np.testing.assert_array_equal(enclosed(mesh.points[mesh.faces].astype(float), shape), mask)


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-0.5, 0.5, 3.0, 1]), OBLIQUE], ids=["plain", "mirror", "far"])
@pytest.mark.parametrize("share", [0.005, 0.1, 0.5, 0.95])
def test_ragged_masks_pass(tmp_path: Path, affine: np.ndarray, share: float) -> None:
    """Single voxels, holes, sheets that touch at corners, and organs at the border of the scan."""
    rows = verdict(tmp_path, ragged(1, share, (20, 18, 16)), affine)
    assert [row["status"] for row in rows] == ["ok", "ok"]


def moved(by: float) -> Change:
    return lambda mesh: replace(mesh, points=mesh.points + np.float32(by))


CHANGES: dict[str, Change] = {
    "moved by a twentieth of a voxel": moved(0.05),
    "moved by a voxel": moved(1.0),
    "mirrored": lambda mesh: Mesh(mesh.points * np.array([-1, 1, 1], np.float32), mesh.faces[:, ::-1].copy()),
    "smaller": lambda mesh: replace(mesh, points=mesh.points * np.float32(0.9)),
    "in LPS": lambda mesh: replace(mesh, points=mesh.points * np.array([-1, -1, 1], np.float32)),
    "inside out": lambda mesh: replace(mesh, faces=mesh.faces[:, ::-1].copy()),
    "half of it": lambda mesh: replace(mesh, faces=mesh.faces[: len(mesh.faces) // 2]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_found(tmp_path: Path, name: str) -> None:
    mask = np.zeros((20, 18, 16), bool)
    mask[2:8, 3:9, 4:12] = ragged(2, 0.8, (6, 6, 8))
    try:
        rows = verdict(tmp_path, mask, np.eye(4), CHANGES[name])
    except InputError as error:
        assert "beyond the scan" in error.what  # noqa: PT017
    else:
        assert [row["status"] for row in rows] == ["failed", "failed"]


def test_one_voxel_less_is_found(tmp_path: Path) -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[2:7, 2:7, 2:7] = True
    less = mask.copy()
    less[2, 2, 2] = False
    mesh = surface(less, np.eye(4))
    assert mesh is not None
    assert [row["status"] for row in verdict(tmp_path, mask, np.eye(4), lambda _: mesh)] == ["failed", "failed"]


@pytest.mark.parametrize("form", ["stl", "ply"])
def test_cut_files_are_refused(tmp_path: Path, form: str) -> None:
    mask = ragged(3)
    verdict(tmp_path, mask, np.eye(4))
    path = tmp_path / f"a.{form}"
    for content in (path.read_bytes()[:-1], b"something else"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="is not a"):
            read_surfaces({"a": path}, labels_of(mask, np.eye(4)))
