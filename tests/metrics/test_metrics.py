"""Definitions, units and invariances of the figures of one segmentation."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import pipeline.metrics.overlap as metrics
from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap
from pipeline.metrics.empty import CONVENTIONS, check_convention, rule_text
from pipeline.metrics.organs import MetricSettings, compare_labels
from pipeline.metrics.overlap import mean_iou_over_thresholds
from tests.metrics.organ import organ_metrics

AFFINE = np.eye(4)
masks = arrays(bool, (5, 6, 4))


def box(shape: tuple[int, ...], *ranges: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*r) for r in ranges)] = True
    return mask


def test_worked_example() -> None:
    result = doctest.testmod(metrics)
    assert result.attempted > 5
    assert result.failed == 0


def test_every_convention_is_declared_in_words() -> None:
    assert len({rule_text(name) for name in CONVENTIONS}) == len(CONVENTIONS)
    with pytest.raises(InputError, match="metrics-reloaded"):
        check_convention("medpy")


def test_millimetres_and_volumes() -> None:
    reference = box((20, 20, 20), (5, 15), (5, 15), (5, 15))
    measured = organ_metrics(np.roll(reference, 2, axis=2), reference, (1.0, 2.0, 3.0))
    assert measured.volume_ref == pytest.approx(1000 * 6 / 1000)
    assert (measured.unit, measured.volume_unit) == ("mm", "mL")
    assert measured.centroid_distance == pytest.approx(6.0)
    assert measured.hd95 == pytest.approx(6.0)
    assert measured.volume_difference == 0


def test_a_picture_has_areas_and_no_third_axis() -> None:
    reference = box((30, 30, 1), (5, 15), (5, 15), (0, 1))
    prediction = box((30, 30, 1), (5, 15), (5, 20), (0, 1))
    measured = organ_metrics(prediction, reference, (0.5, 0.5, 1.0))
    assert measured.volume_unit == "cm²"
    assert measured.volume_ref == pytest.approx(100 * 0.25 / 100)
    assert measured.volume_difference == pytest.approx(0.5)


def test_unknown_spacing_speaks_of_pixels() -> None:
    reference = box((8, 8, 1), (2, 5), (2, 5), (0, 1))
    measured = organ_metrics(reference, reference, (1, 1, 1), MetricSettings(unit="px"))
    assert (measured.unit, measured.volume_unit, measured.volume_ref) == ("px", "px²", 9.0)
    solid = np.ones((4, 4, 4), bool)
    assert organ_metrics(solid, solid, (1, 1, 1), MetricSettings(unit="px")).volume_unit == "voxels"


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="prediction is"):
        organ_metrics(np.ones((3, 3, 3), bool), np.ones((3, 3, 1), bool), (1, 1, 1))


@settings(max_examples=60, deadline=None)
@given(masks, masks)
def test_swapping_the_masks_swaps_precision_and_recall(first: np.ndarray, second: np.ndarray) -> None:
    there = organ_metrics(first, second, (1.0, 0.5, 2.0))
    back = organ_metrics(second, first, (1.0, 0.5, 2.0))
    for name in ("dice", "iou", "hd95", "assd", "centroid_distance", "accuracy"):
        assert getattr(there, name) == pytest.approx(getattr(back, name), nan_ok=True)
    assert there.precision == pytest.approx(back.recall, nan_ok=True)
    for tolerance, value in there.nsd.items():
        assert value == pytest.approx(back.nsd[tolerance], nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(masks, masks, st.permutations(range(3)))
def test_turning_the_image_changes_nothing(first: np.ndarray, second: np.ndarray, axes: list[int]) -> None:
    spacing = (1.0, 0.5, 2.0)
    plain = organ_metrics(first, second, spacing)
    turned = organ_metrics(first.transpose(axes)[::-1], second.transpose(axes)[::-1], [spacing[axis] for axis in axes])
    assert turned.hd95 == pytest.approx(plain.hd95, nan_ok=True)
    assert turned.dice == pytest.approx(plain.dice, nan_ok=True)
    assert turned.volume_pred == pytest.approx(plain.volume_pred)


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, (5, 6, 4), elements=st.integers(0, 3)), arrays(np.uint8, (5, 6, 4), elements=st.integers(0, 3)))
def test_a_label_map_is_measured_as_its_organs_alone(first: np.ndarray, second: np.ndarray) -> None:
    organs = ("a", "b", "c")
    prediction, reference = (LabelMap(data, AFFINE, organs, False, frozenset(organs)) for data in (first, second))
    together = compare_labels(prediction, reference, (1, 1, 2.0))
    for index, organ in enumerate(organs):
        alone = organ_metrics(first == index + 1, second == index + 1, (1, 1, 2.0))
        assert together[organ].counts == alone.counts
        assert together[organ].hd95 == pytest.approx(alone.hd95, nan_ok=True)
        assert together[organ].nsd == pytest.approx(alone.nsd, nan_ok=True)


def test_overlapping_organs_unannotated_organs_and_ignored_voxels() -> None:
    heart, lung = box((9, 9, 1), (1, 6), (1, 6), (0, 1)), box((9, 9, 1), (4, 8), (4, 8), (0, 1))
    ignore = box((9, 9, 1), (0, 2), (0, 9), (0, 1))
    organs = ("heart", "lung", "rib")
    reference = LabelMap.from_masks({"heart": heart, "lung": lung}, AFFINE, organs, overlapping=True, ignore=ignore)
    prediction = LabelMap.from_masks(
        {"heart": heart & ~ignore, "lung": lung, "rib": heart}, AFFINE, organs, overlapping=True
    )
    measured = compare_labels(prediction, reference, (1, 1, 1))
    assert set(measured) == {"heart", "lung"}
    assert measured["heart"].dice == 1.0
    assert measured["heart"].counts.total == 81 - 18
    assert measured["lung"].dice == 1.0


def test_maps_of_other_organs_are_refused() -> None:
    data = np.zeros((3, 3, 3), np.uint8)
    one = LabelMap(data, AFFINE, ("a",), False, frozenset({"a"}))
    other = LabelMap(data, AFFINE, ("b",), False, frozenset({"b"}))
    with pytest.raises(ValueError, match="different organs"):
        compare_labels(one, other, (1, 1, 1))


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, (30,), elements=st.floats(0, 1, width=32)), arrays(bool, (30,)))
def test_mean_iou_over_thresholds_is_the_mean_of_the_cuts(probability: np.ndarray, reference: np.ndarray) -> None:
    cuts = []
    for threshold in np.arange(0.5, 0.99, 0.05).round(2):
        cut = probability > np.float32(threshold)
        union = (cut | reference).sum()
        cuts.append((cut & reference).sum() / union if union else math.nan)
    assert len(cuts) == 10
    assert mean_iou_over_thresholds(probability, reference) == pytest.approx(float(np.mean(cuts)), nan_ok=True)
