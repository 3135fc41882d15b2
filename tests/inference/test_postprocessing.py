"""Clean-up of organs, exclusive and overlapping."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from pipeline.core.labels import LabelMap
from pipeline.core.scan import Grid
from pipeline.inference.postprocessing import OrganSteps, clean_labels, voxel_size

ORGANS = ("a", "b")
ALL = OrganSteps(largest_component=True, fill_holes=True, smallest=3)


def labels_of(data: np.ndarray, overlapping: bool = False) -> LabelMap:
    return LabelMap(data.astype(np.uint8), np.eye(4), ORGANS, overlapping, frozenset(ORGANS))


def test_largest_component_and_holes() -> None:
    data = np.zeros((9, 9, 1))
    data[1:6, 1:6] = 1
    data[3, 3] = 0
    data[2, 2] = 2
    data[8, 8] = 1
    found = clean_labels(labels_of(data), {"a": OrganSteps(largest_component=True, fill_holes=True)}, "mm").data
    assert found[8, 8] == 0
    assert found[3, 3] == 1
    assert found[2, 2] == 2


def test_smallest_is_a_size_in_millimetres() -> None:
    data = np.zeros((9, 9, 9))
    data[:2, :2, :2], data[5:7, 5, 5] = 1, 1
    fine = LabelMap(data.astype(np.uint8), np.diag([0.5, 0.5, 0.5, 1]), ORGANS, False, frozenset())
    steps = {"a": OrganSteps(smallest=0.5)}
    assert clean_labels(fine, steps, "mm").data.sum() == 8
    assert clean_labels(fine, steps, "px").data.sum() == 10
    assert voxel_size(Grid((2, 2, 1), np.diag([2.0, 3.0, 9.0, 1])), "mm") == 6


@settings(max_examples=60, deadline=None)
@given(
    data=arrays(np.uint8, (6, 5, 4), elements=st.integers(0, 3)),
    overlapping=st.booleans(),
    steps=st.sampled_from([ALL, OrganSteps(fill_holes=True), OrganSteps(largest_component=True)]),
)
def test_only_the_named_organ_changes(data: np.ndarray, overlapping: bool, steps: OrganSteps) -> None:
    data = data if overlapping else np.where(data == 3, 255, data)
    labels = labels_of(data, overlapping)
    found = clean_labels(labels, {"a": steps}, "px")
    np.testing.assert_array_equal(found.mask("b"), labels.mask("b"))
    np.testing.assert_array_equal(found.ignored(), labels.ignored())
    again = clean_labels(found, {"a": steps}, "px")
    np.testing.assert_array_equal(again.data, found.data)


def test_nothing_to_do_gives_the_same_object() -> None:
    labels = labels_of(np.ones((2, 2, 2)))
    assert clean_labels(labels, {"a": OrganSteps(threshold=0.4)}, "mm") is labels
    assert not OrganSteps(threshold=0.4).cleans


def test_steps_are_checked() -> None:
    with pytest.raises(ValidationError):
        OrganSteps(threshold=1.5)
    with pytest.raises(ValidationError):
        OrganSteps(smooth=True)  # type: ignore[call-arg]
