"""Resampling, normalisation, and the way from a scan to the network and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap
from pipeline.core.limits import check_extent
from pipeline.core.plan import Plan
from pipeline.core.scan import FRONTAL_AFFINE, Grid, Scan
from pipeline.imaging.normalisation import normalise
from pipeline.imaging.preprocessing import decide, prepare, prepare_labels
from pipeline.imaging.resampling import axis_weights, resample, resampled_grid
from pipeline.imaging.validity import fault_of
from pipeline.train.schedule import ema_decay, rate_factor, validation_steps

SIDES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20))


def make_plan(**changes: Any) -> Plan:
    values: dict[str, Any] = {
        "model": "unet",
        "modality": "mri",
        "organs": ["a", "b"],
        "overlapping": False,
        "in_channels": 1,
        "spatial_dims": 3,
        "spacing": [1.0, 1.0, 2.0],
        "normalisation": {"name": "zscore_foreground"},
        "patch": [8, 8, 4],
        "batch": 4,
        "network": {"name": "unet"},
        "loss": {"name": "dice_ce"},
        "augmentation": {},
        "optimiser": {},
        "steps": 10,
        "validate_every": 5,
    }
    return Plan.model_validate(values | changes)


@given(st.integers(1, 300), st.integers(1, 300))
@settings(deadline=None)
def test_weights_sum_to_one_and_shift_nothing(before: int, after: int) -> None:
    weights = axis_weights(before, after).toarray()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    assert weights.min() >= 0
    # Mirrored input gives mirrored output: no half-voxel shift.
    np.testing.assert_allclose(weights, weights[::-1, ::-1], atol=1e-5)


def test_resampling_agrees_with_pillow_and_scipy() -> None:
    picture = np.random.default_rng(0).random((37, 53)).astype(np.float32)
    for size in ((20, 90), (64, 64), (11, 13), (37, 20)):
        ours = resample(picture[..., None], (*size, 1))[..., 0]
        theirs = np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.BILINEAR))
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    volume = np.random.default_rng(1).random((10, 12, 7))
    ours = resample(volume, (20, 24, 14))
    theirs = ndimage.zoom(volume, 2, order=1, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@given(SIDES, SIDES)
@settings(deadline=None, max_examples=30)
def test_the_box_stays(before: tuple[int, int, int], after: tuple[int, int, int]) -> None:
    affine = np.array([[0, -2.0, 0, 5], [1.5, 0, 0.1, -7], [0, 0, 3, 2], [0, 0, 0, 1]])
    old, new = Grid(before, affine), resampled_grid(Grid(before, affine), after)
    for corner in (np.zeros(3), np.ones(3)):
        place = [
            affine_of @ np.append(corner * shape - 0.5, 1)
            for affine_of, shape in ((old.affine, np.array(before)), (new.affine, np.array(after)))
        ]
        np.testing.assert_allclose(place[0], place[1], atol=1e-9)


@pytest.mark.parametrize("region", ["all", "nonzero", "head"])
def test_mri_is_free_of_scale(region: str) -> None:
    draw = np.random.default_rng(0)
    volume = draw.normal(100, 10, (1, 20, 20, 10))
    volume[:, :10] = 0
    spec = {"name": "zscore_foreground", "region": region}
    one, other = normalise(volume, spec), normalise(volume * 1234.5, spec)
    np.testing.assert_allclose(one, other, atol=1e-3)
    inside = one if region == "all" else one[:, 10:]
    assert abs(inside.mean()) < 0.02
    assert abs(inside.std() - 1) < 0.02


@pytest.mark.parametrize("name", ["zscore_foreground", "percentile_zscore", "encoder"])
def test_odd_scans_stay_finite(name: str) -> None:
    for value in (np.zeros((1, 4, 4, 1)), np.full((3, 4, 4, 1), 7), np.full((1, 4, 4, 1), np.nan)):
        assert np.isfinite(normalise(value, {"name": name})).all()


def test_radiographs_forget_their_exposure() -> None:
    picture = np.random.default_rng(0).integers(0, 200, (1, 64, 64, 1))
    one = normalise(picture, {"name": "percentile_zscore"})
    np.testing.assert_allclose(one, normalise(picture * 16 + 50, {"name": "percentile_zscore"}), atol=1e-4)


def test_colour_is_measured_from_its_own_white() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    plan = make_plan(
        modality="photo", spatial_dims=2, patch=[8, 8], spacing=None, in_channels=3, normalisation={"name": "encoder"}
    )
    wide = (picture.astype(np.uint16) * 257).astype(np.uint16)
    images = [prepare(Scan(v, FRONTAL_AFFINE, "photo", "unknown"), plan).image for v in (picture, wide, picture / 255)]
    np.testing.assert_allclose(images[0], images[1], atol=1e-5)
    np.testing.assert_allclose(images[0], images[2], atol=1e-5)
    assert images[0][0].max() == pytest.approx((picture[0].max() / 255 - 0.485) / 0.229, abs=1e-4)


def test_ct_keeps_its_units() -> None:
    spec = {"name": "ct_window", "low": -100, "high": 200, "mean": 50, "deviation": 10}
    assert normalise(np.array([-2000, 50, 60, 3000]).reshape(1, 4, 1, 1), spec).ravel().tolist() == [-15, 0, 1, 15]


def test_unknown_normalisations_are_refused() -> None:
    with pytest.raises(InputError, match="no normalisation 'magic'"):
        normalise(np.zeros((1, 2, 2, 1)), {"name": "magic"})
    with pytest.raises(InputError, match="does not take 'width'"):
        normalise(np.zeros((1, 2, 2, 1)), {"name": "percentile_zscore", "width": 3})


def organ_scan(overlapping: bool) -> tuple[Scan, LabelMap]:
    place = np.indices((40, 30, 20)).astype(float)
    masks = {
        "a": sum((p - c) ** 2 for p, c in zip(place, (12, 15, 10), strict=True)) < 64,
        "b": sum((p - c) ** 2 for p, c in zip(place, (24, 15, 10), strict=True)) < 64,
    }
    affine = np.diag([0.8, 1.3, 1.7, 1])
    ignore = np.zeros((40, 30, 20), bool)
    ignore[30:, 20:, 12:] = True
    labels = LabelMap.from_masks(masks, affine, ("a", "b"), overlapping=overlapping, ignore=ignore)
    return Scan(np.random.default_rng(0).random((1, 40, 30, 20)), affine, "mri"), labels


@pytest.mark.parametrize("overlapping", [False, True])
def test_labels_go_to_the_plan_and_come_back(overlapping: bool) -> None:
    scan, labels = organ_scan(overlapping)
    plan = make_plan(overlapping=overlapping, spacing=[1.0, 1.0, 1.0])
    prepared = prepare(scan, plan)
    assert prepared.image.shape == (1, 32, 39, 34)
    moved = prepare_labels(labels, plan, prepared)
    assert moved.data.shape == (32, 39, 34)
    assert moved.ignored().any()
    for organ in ("a", "b"):
        volume = moved.mask(organ).sum() * np.prod(moved.grid.spacing)
        assert volume == pytest.approx(labels.mask(organ).sum() * np.prod(scan.spacing), rel=0.05)
    channels = moved.masks().astype(np.float32)
    if not overlapping:
        channels = np.concatenate([1 - channels.sum(axis=0, keepdims=True), channels])
    back = LabelMap(
        decide(resample(channels, prepared.source.shape), plan), scan.affine, ("a", "b"), overlapping, labels.annotated
    )
    for organ in ("a", "b"):
        both = (back.mask(organ) & labels.mask(organ)).sum()
        assert 2 * both / (back.mask(organ).sum() + labels.mask(organ).sum()) > 0.93


def test_pictures_keep_their_aspect() -> None:
    plan = make_plan(spatial_dims=2, patch=[64, 64], spacing=None, size=[64, 64])
    wide = Scan(np.zeros((1, 200, 100, 1)), FRONTAL_AFFINE, "xray", "unknown")
    prepared = prepare(wide, plan)
    assert prepared.image.shape == (1, 64, 32, 1)
    assert resample(np.ones((2, 64, 32, 1)), prepared.source.shape).shape == (2, 200, 100, 1)


def test_an_unchanged_grid_changes_nothing() -> None:
    scan, labels = organ_scan(True)
    plan = make_plan(overlapping=True, spacing=list(scan.spacing))
    prepared = prepare(scan, plan)
    assert prepare_labels(labels, plan, prepared).data is labels.data
    maps = np.random.default_rng(0).random((2, 40, 30, 20)).astype(np.float32)
    np.testing.assert_array_equal(resample(maps, prepared.source.shape), maps)


@pytest.mark.parametrize(
    ("scan", "changes", "message"),
    [
        (Scan(np.zeros((2, 4, 4, 4)), np.eye(4), "mri"), {}, "2 channels, the model needs 1"),
        (Scan(np.zeros((1, 4, 4, 1)), np.eye(4), "xray"), {}, "is a picture"),
        (Scan(np.zeros((1, 4, 4, 4)), np.eye(4), "mri"), {"spatial_dims": 2, "patch": [4, 4]}, "is a volume"),
        (Scan(np.zeros((1, 40, 40, 40)), np.eye(4), "mri"), {"spacing": [0.01, 0.01, 0.01]}, "too many voxels"),
    ],
)
def test_scans_of_another_kind_are_refused(scan: Scan, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare(scan, make_plan(**changes))


@pytest.mark.parametrize(
    ("shape", "spacing", "fits"),
    [
        ((512, 512, 2000), (0.98, 0.98, 1.0), True),  # a whole body
        ((128, 128, 60), (5.5, 5.5, 10.0), True),
        ((32, 30, 20), (30.0, 30.0, 80.0), False),  # micrometres
        ((500, 300, 400), (25.0, 25.0, 25.0), False),
        ((200, 200, 200), (10.0, 10.0, 10.0), False),
        ((2000, 2500, 1), (0.143, 0.143, 1000.0), True),
        ((2000, 2500, 1), (143.0, 143.0, 1.0), False),
    ],
)
def test_a_size_that_no_patient_has_is_a_fault(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], fits: bool
) -> None:
    voxels = np.broadcast_to(np.arange(shape[0]).astype(np.uint8)[None, :, None, None], (1, *shape))
    scan = Scan(voxels, np.diag([*spacing, 1.0]), "mri")
    if fits:
        check_extent(shape, spacing)
    else:
        fault = fault_of(scan)
        assert fault is not None
        assert fault[0] == "extent"
        assert "larger than any patient" in fault[1]


def test_a_scan_that_grows_beyond_reason_is_refused() -> None:
    scan = Scan(np.zeros((1, 30, 30, 20)), np.diag([15.0, 15.0, 20.0, 1.0]), "mri")
    with pytest.raises(InputError, match="wrong spacing"):
        prepare(scan, make_plan(spacing=[1.0, 1.0, 1.0]))


def test_labels_of_another_scan_are_refused() -> None:
    scan, labels = organ_scan(False)
    prepared = prepare(scan, make_plan())
    with pytest.raises(InputError, match="has shape"):
        prepare_labels(LabelMap(labels.data[:-1], scan.affine, ("a", "b"), False, frozenset()), make_plan(), prepared)
    with pytest.raises(InputError, match="the label map holds"):
        prepare_labels(labels, make_plan(organs=["a", "c"]), prepared)


def test_thresholds_decide() -> None:
    overlapping = make_plan(overlapping=True)
    maps = np.array([0.6, 0.4], np.float32).reshape(2, 1, 1, 1)
    assert decide(maps, overlapping).item() == 1
    assert decide(maps, overlapping, {"a": 0.7, "b": 0.3}).item() == 2
    exclusive = np.array([0.3, 0.5, 0.2], np.float32).reshape(3, 1, 1, 1)
    assert decide(exclusive, make_plan()).item() == 1
    assert decide(exclusive, make_plan(), {"a": 0.6}).item() == 0


def test_the_course_of_a_training() -> None:
    factors = [rate_factor(step, 100) for step in range(100)]
    assert factors[4] == factors[5] == 1
    assert factors[0] == pytest.approx(0.2)
    assert factors[-1] < 0.001
    assert factors[5:] == sorted(factors[5:], reverse=True)
    assert rate_factor(50, 100, schedule="constant") == 1
    assert rate_factor(99, 100, schedule="poly", warmup=0) < 0.02
    with pytest.raises(InputError, match="no schedule"):
        rate_factor(0, 10, schedule="zigzag")
    assert ema_decay(0, 0.99) == pytest.approx(0.1)
    assert ema_decay(10**6, 0.99) == 0.99


@given(st.integers(1, 5000), st.integers(1, 2000))
def test_validations_are_few_and_the_last_step_is_one(steps: int, every: int) -> None:
    due = validation_steps(steps, every)
    assert due[-1] == steps
    assert len(due) <= 9
    assert due == sorted(set(due))
    assert due[0] >= 1
