"""A scan is told from its mirror image by the pictures of other patients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.core.scan import FRONTAL_AFFINE, Scan
from pipeline.quality.calibration import expected_interval
from pipeline.quality.judge import LOOK, coarse_picture, excess
from pipeline.quality.sides import side_interval, side_weights, sides_by_others

NAMES = [f"p{number}" for number in range(60)]


def pictures(asymmetry: float, count: int = 60, flat: bool = True) -> np.ndarray:
    """Noise, and one voxel that is brighter on one side."""
    found = np.random.default_rng(0).normal(size=(count, 8, 8, 1 if flat else 8))
    found[:, 1, 5, 0] += asymmetry
    return found


def test_the_sum_changes_its_sign_in_a_mirror() -> None:
    weights = side_weights(pictures(5.0))
    np.testing.assert_allclose(weights, -weights[::-1])
    assert np.abs(weights).argmax() in (1 * 8 + 5, 6 * 8 + 5)
    sums = np.tensordot(pictures(5.0), weights, 3)
    np.testing.assert_allclose(np.tensordot(pictures(5.0)[:, ::-1], weights, 3), -sums)
    assert sums.mean() > 0
    assert not side_weights(np.ones((3, 8, 8, 1))).any()
    assert side_weights(pictures(5.0, 1, flat=False)).shape == (8, 8, 8)


@pytest.mark.parametrize(("asymmetry", "told"), [(5.0, True), (0.0, False)])
def test_mirrored_pictures_are_found_where_pictures_tell_sides(asymmetry: float, told: bool) -> None:
    values = sides_by_others(pictures(asymmetry), NAMES)
    interval = side_interval(values, NAMES, expected_interval(values, len(NAMES)))
    alarms, mirrored = (
        np.mean([excess("handedness", sign * value, interval) > LOOK for value in values]) for sign in (1, -1)
    )
    assert alarms <= 0.05
    assert (mirrored > 0.9) == told
    if not told:
        assert interval == expected_interval(values, len(NAMES))


def test_one_patient_is_no_evidence() -> None:
    assert sides_by_others(pictures(5.0, 3), ["a", "a", "a"]) == [0, 0, 0]


def test_mirrored_radiographs_are_found_before_anything_is_segmented(real_data: Path) -> None:
    """Of 85 radiographs of people who took no part at least nine in ten in a mirror, and 5 % false alarms at most."""
    coarse = []
    for path in sorted((real_data / "xray_wingspan" / "images").glob("WS*.png")):
        if path.stem != "WS0054":
            pixels = np.asarray(Image.open(path).convert("L"))
            coarse.append(coarse_picture(Scan(pixels.T[None, :, :, None].copy(), FRONTAL_AFFINE, "xray", "unknown")))
    order = np.random.default_rng(0).permutation(len(coarse))
    known, others = (np.stack([coarse[i] for i in part]) for part in (order[:65], order[65:]))
    names = [str(number) for number in range(65)]
    values = sides_by_others(known, names)
    interval = side_interval(values, names, expected_interval(values, 65))
    sums = np.tensordot(others, side_weights(known), 3)
    assert np.mean([excess("handedness", value, interval) > LOOK for value in sums]) <= 0.05
    assert np.mean([excess("handedness", -value, interval) > LOOK for value in sums]) >= 0.9
