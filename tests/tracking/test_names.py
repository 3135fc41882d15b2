"""Names and points: whatever organs are called, MLflow takes the keys, and no two organs share one."""

import math

from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param

from pipeline.tracking.events import has_ended, new_points, points_of
from pipeline.tracking.figures import metric_key
from pipeline.tracking.names import flatten, metric_names, safe_part


def test_an_awkward_organ_gets_a_readable_key() -> None:
    assert safe_part("left lung (upper)") == "left lung upper"
    assert metric_names(["lung (l)", "lung [l]", "LUNG L"]) == {
        "lung (l)": "lung l",
        "lung [l]": "lung l 2",
        "LUNG L": "LUNG L 3",
    }


@given(st.lists(st.text(max_size=300), unique=True, max_size=12))
def test_every_organ_gets_its_own_key_that_mlflow_takes(organs: list[str]) -> None:
    names = metric_names(organs)
    assert len({name.casefold() for name in names.values()}) == len(organs)
    for name in names.values():
        key = metric_key("oof", "assd", name, "px", "high")
        _validate_metric_name(key)
        assert len(key) <= 250


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.lists(st.integers(), max_size=3)),
        lambda inner: st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=12,
    ).filter(lambda value: isinstance(value, dict))
)
def test_flattened_settings_are_parameters_that_mlflow_takes(values: dict) -> None:
    for key, value in flatten(values).items():
        _validate_param(key, value)


def test_flattening_keeps_lists_whole_and_names_their_place() -> None:
    flat = flatten({"patch": [64, 32], "network": {"name": "unet", "norm": None}, "loss": {"weights": {"dice": 0.5}}})
    assert flat == {"patch": "[64, 32]", "network.name": "unet", "loss.weights.dice": "0.5"}


def test_points_keep_their_time_and_an_absent_organ_leaves_a_gap() -> None:
    event = {
        "time": 1700000000.1234,
        "kind": "validation",
        "step": 40,
        "dice": {"a (b)": math.nan, "c": 0.5},
        "mean": 0.5,
    }
    points = list(points_of(event, {"a (b)": "a b", "c": "c"}))
    assert [(p.key, p.value, p.step, p.time) for p in points] == [
        ("validation Dice/c", 0.5, 40, 1700000000123),
        ("validation Dice/all organs", 0.5, 40, 1700000000123),
    ]
    loss = list(points_of({"time": 1, "kind": "step", "step": 0, "loss": math.nan}, {}))
    assert math.isnan(loss[0].value)


@given(st.lists(st.integers(0, 20), max_size=60))
def test_repeated_steps_become_one_point_each_and_the_first_wins(steps: list[int]) -> None:
    events = [{"time": i, "kind": "step", "step": step, "loss": float(i)} for i, step in enumerate(steps)]
    known: set[tuple[str, int]] = set()
    half = len(events) // 2
    points = new_points(events[:half], {}, known) + new_points(events[half:], {}, known)
    assert sorted(point.step for point in points) == sorted(set(steps))
    assert all(point.value == steps.index(point.step) for point in points)
    assert new_points(events, {}, known) == []


def test_only_the_last_start_counts_for_the_end() -> None:
    assert has_ended([{"kind": "start"}, {"kind": "end"}])
    assert not has_ended([{"kind": "start"}, {"kind": "end"}, {"kind": "start"}, {"kind": "step"}])
    assert not has_ended([])
