"""Geometry: a grid reordered is the same grid in space."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.core.scan import FRONTAL_AFFINE, Grid, Scan, permute, to_canonical, unpermute


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """A rotation, permutation, flips and spacing: any affine that a scanner writes."""
    angles = draw(st.tuples(*[st.floats(-0.7, 0.7)] * 3))
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [(1, 2), (0, 2), (0, 1)][axis]
        turn = np.eye(3)
        turn[[i, i, j, j], [i, j, i, j]] = [np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)]
        matrix = matrix @ turn
    order = draw(st.permutations(range(3)))
    signs = draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    spacing = draw(st.tuples(*[st.floats(0.2, 8)] * 3))
    affine = np.eye(4)
    affine[:3, :3] = matrix[:, order] * signs * spacing
    affine[:3, 3] = draw(st.tuples(*[st.floats(-300, 300)] * 3))
    return affine


shapes = st.tuples(*[st.integers(2, 6)] * 3)


@given(affines(), shapes)
def test_canonical_is_the_same_volume_in_space(affine: np.ndarray, shape: tuple[int, int, int]) -> None:
    voxels = np.arange(np.prod(shape), dtype=np.int32).reshape(1, *shape)
    scan = Scan(voxels, affine, "mri")
    turned = scan.canonical()
    for index in np.ndindex(shape):
        place = affine @ [*index, 1]
        there = np.rint(np.linalg.inv(turned.affine) @ place)[:3].astype(int)
        assert turned.voxels[0][tuple(there)] == voxels[0][index]
    assert sorted(turned.spacing) == pytest.approx(sorted(scan.spacing))


@given(affines(), shapes)
def test_canonical_points_to_right_anterior_superior(affine: np.ndarray, shape: tuple[int, int, int]) -> None:
    turned = Scan(np.zeros((1, *shape), np.uint8), affine, "mri").canonical()
    assert turned.grid.orientation == "RAS"
    assert turned.grid.lateral_axis == 0


@given(affines(), shapes)
def test_to_stored_undoes_canonical(affine: np.ndarray, shape: tuple[int, int, int]) -> None:
    voxels = np.arange(np.prod(shape), dtype=np.int32).reshape(1, *shape)
    turned = Scan(voxels, affine, "mri").canonical()
    assert np.array_equal(turned.to_stored(turned.voxels), voxels)
    assert turned.stored is not None
    assert np.allclose(turned.stored.affine, affine)


@given(affines(), shapes, hnp.arrays(bool, 3))
def test_permuted_grid_follows_permuted_array(
    affine: np.ndarray, shape: tuple[int, int, int], flip: np.ndarray
) -> None:
    grid = Grid(shape, affine)
    axes, _ = to_canonical(grid)
    flips = tuple(bool(f) for f in flip)
    array = np.arange(np.prod(shape)).reshape(shape)
    moved, moved_grid = permute(array, axes, flips), grid.permuted(axes, flips)
    assert moved.shape == moved_grid.shape
    assert np.array_equal(unpermute(moved, axes, flips), array)
    last = np.array([*(np.array(moved.shape) - 1), 1])
    source = np.rint(np.linalg.inv(affine) @ moved_grid.affine @ last)[:3].astype(int)
    assert array[tuple(source)] == moved[-1, -1, -1]


def test_pictures_stay_as_they_are_shown() -> None:
    scan = Scan(np.zeros((1, 5, 4, 1), np.uint8), FRONTAL_AFFINE, "xray", "unknown")
    assert scan.canonical().voxels.shape == (1, 5, 4, 1)
    assert scan.grid.orientation == "LIA"
    assert scan.grid.lateral_axis == 0
    assert scan.unit == "px"


@pytest.mark.parametrize("change", ["flip", "shift", "shape"])
def test_same_place_finds_flips_and_shifts(change: str) -> None:
    grid = Grid((10, 12, 8), np.diag([2.0, 1, 3, 1]))
    other = {
        "flip": grid.permuted((0, 1, 2), (True, False, False)),
        "shift": Grid(grid.shape, grid.affine + np.array([[0, 0, 0, 1], *[[0] * 4] * 3])),
        "shape": Grid((10, 12, 9), grid.affine),
    }[change]
    assert not grid.same_place(other)
    assert grid.same_place(Grid(grid.shape, grid.affine + 1e-6))


def test_wrong_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(C, X, Y, Z\)"):
        Scan(np.zeros((4, 4, 4)), np.eye(4), "mri")
    with pytest.raises(ValueError, match="invertible"):
        Scan(np.zeros((1, 4, 4, 4)), np.zeros((4, 4)), "mri")
