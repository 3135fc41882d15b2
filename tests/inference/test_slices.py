"""A model of pictures is shown the slices of a volume as pictures of them lie in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.core.scan import Array, Scan
from pipeline.core.study import Ingest
from pipeline.formats.table import read_scan_file
from pipeline.inference.predictor import Predictor
from pipeline.inference.slices import PLANES, as_pictures, as_volume, slice_axis
from tests.field.making import grey, write_series
from tests.predict.plans import make_plan


def volume(affine: Array, shape: tuple[int, int, int] = (12, 10, 4)) -> Scan:
    """A scan with a bright box in each slice and another in one of them."""
    voxels = np.random.default_rng(0).normal(100, 5, (1, *shape)).astype(np.float32)
    voxels[0, 2:6, 1:4] += 900
    voxels[0, 8:10, 6:8, 2] += 900
    return Scan(voxels, affine, "mri").canonical()


def predictor(**changes: Any) -> Predictor:
    """Networks of pictures that call left what is bright."""

    def forward(batch: Array) -> Array:
        bright = (batch[:, :1] > 1).astype(np.float32)
        return np.concatenate([1 - bright, bright, 0 * bright], axis=1)

    plan = make_plan(spatial_dims=2, patch=[16, 16], **changes)
    return Predictor([(plan, forward)])


def test_pictures_lie_as_those_that_are_made_of_a_series(tmp_path: Path) -> None:
    pixels = grey((20, 18, 5))
    write_series(tmp_path / "series", pixels, 2.0)
    scan = read_scan_file([tmp_path / "series"], None, Ingest()).canonical()
    pictures = as_pictures(scan)
    assert PLANES[slice_axis(scan)] == "axial"
    assert [picture.shape for picture in pictures] == [(20, 18, 1)] * 5
    assert all(picture.is_flat and picture.unit == "px" for picture in pictures)
    for index, picture in enumerate(pictures):
        np.testing.assert_array_equal(picture.voxels[0, :, :, 0], pixels[:, :, index])


@pytest.mark.parametrize(
    ("axes", "plane"), [("axial", [0, 1, 2]), ("coronal", [0, 2, 1]), ("sagittal", [1, 2, 0])], ids=lambda v: str(v)
)
def test_planes_are_those_of_the_file_and_all_comes_back_to_its_place(axes: str, plane: list[int]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, plane] * [1, 1, 3]
    scan = volume(affine)
    assert PLANES[slice_axis(scan)] == axes
    pictures = as_pictures(scan)
    assert len(pictures) == 4
    np.testing.assert_array_equal(as_volume((one.voxels for one in pictures), scan, 1 << 20), scan.voxels)


def test_each_slice_is_segmented_and_lands_on_the_volume() -> None:
    scan = volume(np.diag([-1.0, 1, 3, 1]))
    found = predictor().predict(scan)
    np.testing.assert_array_equal(found.labels.mask("left"), scan.voxels[0] > 500)
    assert not found.labels.mask("right").any()
    assert found.probabilities.shape == (3, *scan.shape)
    assert found.labels.affine is scan.affine or np.array_equal(found.labels.affine, scan.affine)
    assert found.certainty["left"] == pytest.approx(1)


@pytest.mark.parametrize("overlapping", [False, True])
def test_a_slice_beyond_the_patient_holds_nothing(overlapping: bool) -> None:
    scan = volume(np.eye(4))
    scan.voxels[..., 3] = 0
    asked = predictor(overlapping=overlapping, mirror_pairs=[])
    if overlapping:
        plan, forward = asked.members[0]
        asked = Predictor([(plan, lambda batch: forward(batch)[:, 1:])])
    found = asked.predict(scan)
    assert found.labels.mask("left")[..., 1:3].any()
    assert not found.labels.mask("left")[..., 3].any()


def test_pixels_that_are_not_square_are_refused() -> None:
    with pytest.raises(InputError, match=r"1 × 1\.5 mm.*square"):
        predictor().predict(volume(np.diag([1.0, 1.5, 3, 1])))
