"""A new champion replaces the old one only if it is better, out of fold, on the same patients."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.files import write_table
from pipeline.tracking.promotion import judge, oof_scores
from tests.tracking.studies import make_study, write_metrics


def scores(seed: int, count: int = 20, shift: float = 0.0) -> dict[str, float]:
    values = np.random.default_rng(seed).normal(0.8, 0.05, count)
    return {f"s{i}": float(value + shift) for i, value in enumerate(values)}


def test_the_first_becomes_champion() -> None:
    assert judge(scores(0), None).alias == "champion"


def test_clearly_better_replaces_and_worse_or_equal_does_not() -> None:
    old = scores(0)
    better = judge({k: v + 0.03 for k, v in old.items()}, old, "4")
    assert better.alias == "champion"
    assert "version 4" in better.reason
    assert "+0.0300" in better.reason
    assert judge(old, old).alias == "challenger"
    assert judge({k: v - 0.03 for k, v in old.items()}, old).alias == "challenger"


def test_a_gain_within_its_interval_is_not_enough() -> None:
    old = scores(1)
    noise = np.random.default_rng(2).normal(0, 0.05, len(old))
    new = {k: v + float(e) for (k, v), e in zip(old.items(), noise - noise.mean() + 0.002, strict=True)}
    verdict = judge(new, old)
    assert verdict.alias == "challenger"
    assert "interval" in verdict.reason


def test_other_patients_cannot_be_compared() -> None:
    verdict = judge({f"t{i}": 0.99 for i in range(20)}, scores(0), "1")
    assert verdict.alias == "challenger"
    assert "0 out-of-fold patients" in verdict.reason


@given(st.integers(0, 1000), st.floats(-0.2, 0.2))
def test_two_cannot_both_replace_each_other(seed: int, shift: float) -> None:
    one, other = scores(seed), scores(seed + 1, shift=shift)
    assert {judge(one, other).alias, judge(other, one).alias} != {"champion"}


def test_scores_are_by_patient_without_naming_one(tmp_path) -> None:
    _, paths = make_study(tmp_path)
    write_metrics(paths, "oof", {"unet": {"s2": 0.9, "s3": 0.8}, "other": {"s2": 0.1}})
    assert oof_scores(paths, ["unet"]) == {"s2": 0.875, "s3": 0.775}
    write_table(paths.champion / "oof.csv", [{"scan_id": "s2", "dice": 0.5}], ("scan_id", "dice"))
    assert oof_scores(paths, ["unet"]) == {"s2": 0.5}
