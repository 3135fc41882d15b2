"""Statistics over patients against scipy, statsmodels' published examples and known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.metrics.statistics import (
    bland_altman,
    bootstrap_interval,
    compare_paired,
    describe,
    few_patients_note,
    holm,
    patient_means,
    wilcoxon,
)

NAN = float("nan")


def test_scans_of_a_patient_are_averaged_first() -> None:
    means = patient_means([("b", 1.0), ("a", 0.0), ("b", 0.5), ("c", NAN), ("d", math.inf)])
    assert means == {"a": 0.0, "b": 0.75}
    assert describe(means).mean == pytest.approx(0.375)


def test_repeating_a_patients_scans_does_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(0)
    values = [(f"p{i}", float(v)) for i, v in enumerate(rng.normal(size=20))]
    once, often = describe(patient_means(values)), describe(patient_means(values * 5))
    assert (once.n, once.low, once.high) == (often.n, pytest.approx(often.low), pytest.approx(often.high))


def test_the_interval_is_seeded_and_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=40)
    mine = bootstrap_interval(values, 20_000, 3)
    assert mine == bootstrap_interval(values, 20_000, 3)
    assert mine != bootstrap_interval(values, 20_000, 4)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(9)
    ).confidence_interval
    assert mine == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for trial in range(300):
        low, high = bootstrap_interval(rng.normal(size=40), 400, trial)
        hits += low <= 0 <= high
    assert 0.90 <= hits / 300 <= 0.98


def test_few_patients() -> None:
    assert describe([]).n == 0
    assert math.isnan(describe([]).mean)
    one = describe([0.8])
    assert (one.mean, one.median) == (0.8, 0.8)
    assert math.isnan(one.low)
    assert "1 patient:" in few_patients_note(1)
    assert "approximate" in few_patients_note(29)
    assert few_patients_note(30) == ""


def test_pairs_are_matched_by_patient() -> None:
    first = {f"p{i}": 0.8 + 0.01 * (i % 3) for i in range(12)}
    second = {f"p{i}": 0.7 for i in range(2, 14)}
    paired = compare_paired(first, second, 500, 0)
    assert paired.n == 10
    assert paired.difference == pytest.approx(np.mean([first[p] - 0.7 for p in first if p in second]))
    assert paired.low <= paired.difference <= paired.high
    assert paired.p < 0.01
    back = compare_paired(second, first, 500, 0)
    assert back.difference == pytest.approx(-paired.difference)
    assert back.p == pytest.approx(paired.p)
    assert math.isnan(compare_paired({"a": 1.0}, {"b": 1.0}).p)
    assert compare_paired(first, first).p == 1.0


@pytest.mark.parametrize("n", [1, 2, 5, 12, 25, 50])
def test_wilcoxon_is_scipys_exact_one(n: int) -> None:
    difference = np.random.default_rng(n).normal(0.2, 1, n)
    assert wilcoxon(difference) == pytest.approx(stats.wilcoxon(difference, method="exact").pvalue)


@pytest.mark.parametrize("n", [51, 400])
def test_wilcoxon_is_scipys_approximation_for_many(n: int) -> None:
    difference = np.random.default_rng(n).normal(0.1, 1, n).round(1)
    expected = stats.wilcoxon(difference, zero_method="pratt", method="asymptotic", correction=False)
    assert wilcoxon(difference) == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("seed", range(5))
def test_wilcoxon_with_ties_and_zeros_counts_out_all_signs(seed: int) -> None:
    difference = np.random.default_rng(seed).integers(-2, 4, 9).astype(float)
    ranks = stats.rankdata(np.abs(difference))[difference != 0]
    signs = np.array(np.meshgrid(*[[0, 1]] * len(ranks))).reshape(len(ranks), -1)
    sums = ranks @ signs
    seen = ranks[difference[difference != 0] > 0].sum()
    expected = min(1, 2 * min((sums <= seen).mean(), (sums >= seen).mean()))
    assert wilcoxon(difference) == pytest.approx(expected)
    assert wilcoxon(np.zeros(4)) == 1.0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    adjusted = holm([0.5, NAN, 0.9])
    assert adjusted[0] == 1.0
    assert math.isnan(adjusted[1])
    assert holm([]) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p: list[float]) -> None:
    adjusted = holm(p)
    for value, raw in zip(adjusted, p, strict=True):
        assert raw <= value + 1e-12
        assert value <= min(1.0, raw * len(p)) + 1e-12
    ranks = np.argsort(p, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[ranks]) >= 0)


def test_bland_altman() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(50, 100, 60)
    measured = truth + rng.normal(2.0, 3.0, 60)
    rows = [(f"p{i // 2}", float(m), float(t)) for i, (m, t) in enumerate(zip(measured, truth, strict=True))]
    result = bland_altman([*rows, ("x", NAN, 3.0)], 500, 1)
    difference = measured - truth
    assert (result.n, result.patients) == (60, 30)
    assert result.bias == pytest.approx(difference.mean())
    assert result.upper - result.lower == pytest.approx(2 * 1.96 * difference.std(ddof=1))
    assert result.low < result.bias < result.high
    assert bland_altman([]).n == 0
