"""Clean-up, lesions, and the causes of lost Dice."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.core.labels import LabelMap
from pipeline.imaging.components import (
    components,
    drop_specks,
    fill_holes,
    largest_component,
    loss_causes,
    match_lesions,
)
from pipeline.metrics.organs import compare_labels

AFFINE = np.eye(4)


def box(shape: tuple[int, ...], *ranges: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*r) for r in ranges)] = True
    return mask


SHAPE = (30, 30, 6)
BIG = box(SHAPE, (2, 12), (2, 12), (1, 5))
SMALL = box(SHAPE, (20, 23), (20, 23), (2, 4))


def test_clean_up() -> None:
    both = BIG | SMALL
    assert components(both)[1] == 2
    assert np.array_equal(largest_component(both), BIG)
    assert np.array_equal(drop_specks(both, 18), both)
    assert np.array_equal(drop_specks(both, 19), BIG)
    empty = np.zeros(SHAPE, bool)
    for clean in (largest_component, fill_holes, lambda m: drop_specks(m, 5)):
        assert np.array_equal(clean(empty), empty)


def test_corners_connect() -> None:
    diagonal = np.eye(4, dtype=bool)[..., None]
    assert components(diagonal)[1] == 1


def test_holes_of_a_volume_and_of_a_picture() -> None:
    hollow = BIG & ~box(SHAPE, (5, 8), (5, 8), (2, 4))
    assert np.array_equal(fill_holes(hollow), BIG)
    tunnel = BIG & ~box(SHAPE, (5, 8), (5, 8), (0, 6))
    assert np.array_equal(fill_holes(tunnel), tunnel)
    ring = box((9, 9, 1), (1, 8), (1, 8), (0, 1)) & ~box((9, 9, 1), (3, 5), (3, 5), (0, 1))
    assert fill_holes(ring).sum() == 49


def test_lesions() -> None:
    tiny = box(SHAPE, (15, 16), (25, 27), (2, 3))
    found = match_lesions(BIG | tiny, BIG | SMALL)
    assert (found.found, found.missed, found.spurious) == (1, 1, 1)
    assert found.f1 == pytest.approx(0.5)
    assert match_lesions(np.zeros(SHAPE, bool), BIG).f1 == 0
    assert math.isnan(match_lesions(np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)).f1)


def test_the_overlap_rule_counts() -> None:
    sliver = box(SHAPE, (2, 12), (2, 3), (1, 5))  # a tenth of BIG
    assert match_lesions(sliver, BIG, 0.1).found == 1
    assert match_lesions(sliver, BIG, 0.11).missed == 1
    assert match_lesions(box(SHAPE, (2, 3), (2, 3), (1, 2)), BIG, 0.0).found == 1


def test_each_cause() -> None:
    shifted = box(SHAPE, (3, 13), (2, 12), (1, 5))
    border = loss_causes(shifted, BIG, None, (1, 1, 1), 2)
    assert (border.border, border.missed, border.spurious, border.swap) == (80, 0, 0, 0)
    assert border.lost("border") == pytest.approx(80 / 800)
    missed = loss_causes(BIG, BIG | SMALL, None, (1, 1, 1), 2)
    assert (missed.border, missed.missed, missed.spurious, missed.swap) == (0, 18, 0, 0)
    spurious = loss_causes(BIG | SMALL, BIG, None, (1, 1, 1), 2)
    assert (spurious.border, spurious.missed, spurious.spurious, spurious.swap) == (0, 0, 18, 0)


@pytest.mark.parametrize("overlapping", [False, True])
def test_exchanged_organs_are_a_swap_and_a_shared_border_is_not(overlapping: bool) -> None:
    left, right = BIG, box(SHAPE, (18, 28), (2, 12), (1, 5))
    truth = LabelMap.from_masks({"left": left, "right": right}, AFFINE, ["left", "right"], overlapping=overlapping)
    turned = LabelMap.from_masks({"left": right, "right": left}, AFFINE, ["left", "right"], overlapping=overlapping)
    causes = compare_labels(turned, truth, (1, 1, 1))["left"].causes
    assert causes is not None
    assert (causes.swap, causes.border, causes.missed, causes.spurious) == (800, 0, 0, 0)

    upper, lower = box(SHAPE, (2, 12), (2, 12), (1, 5)), box(SHAPE, (12, 22), (2, 12), (1, 5))
    truth = LabelMap.from_masks({"left": upper, "right": lower}, AFFINE, ["left", "right"], overlapping=overlapping)
    moved = LabelMap.from_masks(
        {"left": box(SHAPE, (2, 11), (2, 12), (1, 5)), "right": box(SHAPE, (11, 22), (2, 12), (1, 5))},
        AFFINE,
        ["left", "right"],
        overlapping=overlapping,
    )
    causes = compare_labels(moved, truth, (1, 1, 1))["left"].causes
    assert causes is not None
    assert (causes.swap, causes.border) == (0, 40)


labels = arrays(np.uint8, (7, 6, 5), elements=st.integers(0, 2))


@settings(max_examples=100, deadline=None)
@given(labels, labels, st.booleans())
def test_causes_add_up_to_the_lost_dice(first: np.ndarray, second: np.ndarray, overlapping: bool) -> None:
    organs = ("a", "b")
    maps = [LabelMap(data, AFFINE, organs, overlapping, frozenset(organs)) for data in (first, second)]
    for measured in compare_labels(maps[0], maps[1], (1, 1, 1)).values():
        causes = measured.causes
        assert causes is not None
        assert min(causes.border, causes.missed, causes.spurious, causes.swap) >= 0
        wrong = measured.counts.false_positive + measured.counts.false_negative
        assert causes.border + causes.missed + causes.spurious + causes.swap == wrong
        if causes.total:
            lost = sum(causes.lost(name) for name in ("border", "missed", "spurious", "swap"))
            assert lost == pytest.approx(1 - measured.dice)
