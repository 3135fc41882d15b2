"""Statistics over patients: intervals, comparisons in pairs, and agreement of sizes. Scans of one patient are one unit.

Two scans of a patient are not two independent cases. Every figure is first averaged over a patient's scans, and
patients, not scans, are drawn in the bootstrap.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NAN = float("nan")
#: Below this many patients intervals are called approximate.
FEW_PATIENTS = 30
#: Up to this many patients the Wilcoxon test is exact.
_EXACT = 50


def patient_means(values: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Average each patient's defined values.

    Args:
        values: ``(patient, value)`` for each scan; NaN and infinite values are left out.

    Returns:
        Patient → mean, in sorted order; patients without a defined value are absent.
    """
    gathered: dict[str, list[float]] = defaultdict(list)
    for patient, value in values:
        if np.isfinite(value):
            gathered[patient].append(value)
    return {patient: float(np.mean(gathered[patient])) for patient in sorted(gathered)}


@dataclass(frozen=True)
class Summary:
    """A figure over patients; ``low`` and ``high`` bound the 95 % bootstrap interval of the mean, all in its unit."""

    n: int
    mean: float
    median: float
    q1: float
    q3: float
    low: float
    high: float


def describe(means: Mapping[str, float] | Sequence[float], draws: int = 2000, seed: int = 0) -> Summary:
    """Mean, median, quartiles and a 95 % percentile bootstrap interval of the mean (Efron & Tibshirani 1993, ch. 13).

    Args:
        means: One value a patient, from :func:`patient_means`.
        draws: Draws of the bootstrap.
        seed: Its seed; equal seeds draw equal patients, whatever the figure.

    Returns:
        NaN everywhere for no patient; no interval (NaN) for a single one.
    """
    values = np.array(list(means.values()) if isinstance(means, Mapping) else list(means), float)
    if not len(values):
        return Summary(0, NAN, NAN, NAN, NAN, NAN, NAN)
    q1, median, q3 = np.percentile(values, [25, 50, 75])
    low, high = bootstrap_interval(values, draws, seed)
    return Summary(len(values), float(values.mean()), float(median), float(q1), float(q3), low, high)


def bootstrap_interval(values: Floats, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of one value a patient; NaN for fewer than two."""
    if len(values) < 2:
        return NAN, NAN
    low, high = np.percentile(_resampled(values, draws, seed), [2.5, 97.5])
    return float(low), float(high)


def _resampled(values: Floats, draws: int, seed: int) -> Floats:
    """Means of ``draws`` samples with replacement, in blocks that fit in memory."""
    generator = np.random.default_rng(seed)
    block = max(1, 2_000_000 // len(values))
    means = [
        values[generator.integers(0, len(values), (min(block, draws - start), len(values)))].mean(axis=1)
        for start in range(0, draws, block)
    ]
    return np.concatenate(means)


@dataclass(frozen=True)
class Paired:
    """Two models on the same patients.

    Attributes:
        n: Patients that both have a value for.
        difference: Mean of first minus second.
        low: Lower bound of the 95 % bootstrap interval of the difference.
        high: Upper bound.
        p: Two-sided Wilcoxon signed-rank test; NaN for no patient, 1 where no patient differs.
    """

    n: int
    difference: float
    low: float
    high: float
    p: float


def compare_paired(first: Mapping[str, float], second: Mapping[str, float], draws: int = 2000, seed: int = 0) -> Paired:
    """Compare two models patient by patient.

    Args:
        first: Patient → value of the first model.
        second: The same of the second.
        draws: Draws of the bootstrap.
        seed: Its seed.
    """
    shared = sorted(set(first) & set(second))
    if not shared:
        return Paired(0, NAN, NAN, NAN, NAN)
    difference = np.array([first[p] - second[p] for p in shared])
    low, high = bootstrap_interval(difference, draws, seed)
    return Paired(len(shared), float(difference.mean()), low, high, wilcoxon(difference))


def wilcoxon(difference: Floats) -> float:
    """Two-sided p of the Wilcoxon signed-rank test that paired differences lie around 0.

    Zeros take part in the ranking and are then dropped (Pratt, J Am Stat Assoc 54, 1959); ties share their mean rank.
    Exact up to 50 patients, from all signs that the ranks could have; then the normal approximation.
    """
    size = np.abs(difference)
    _, where, counts = np.unique(size, return_inverse=True, return_counts=True)
    # Twice the mean rank of ties, a whole number.
    ranks = (2 * np.cumsum(counts) - counts + 1)[where][size > 0]
    positive = int(ranks[difference[size > 0] > 0].sum())
    if not len(ranks):
        return 1.0
    if len(ranks) > _EXACT:
        spread = math.sqrt(float((ranks.astype(float) ** 2).sum()) / 4)
        return math.erfc(abs(positive - ranks.sum() / 2) / spread / math.sqrt(2))
    ways = np.zeros(int(ranks.sum()) + 1)
    ways[0] = 1
    for rank in ranks:
        ways[rank:] += ways[:-rank].copy()
    tail = min(ways[: positive + 1].sum(), ways[positive:].sum()) / 2.0 ** len(ranks)
    return min(1.0, 2 * float(tail))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number (Holm, Scand J Stat 6, 1979). NaN stays NaN and does not count."""
    p = np.asarray(p_values, float)
    adjusted = np.full(len(p), NAN)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return [float(value) for value in adjusted]


@dataclass(frozen=True)
class BlandAltman:
    """Agreement of two measurements of one size, in their unit (Bland & Altman, Lancet 327, 1986).

    Attributes:
        n: Scans measured twice.
        patients: Patients they come from.
        bias: Mean of measured minus reference.
        lower: ``bias - 1.96 SD``: 95 % of differences are expected above it.
        upper: ``bias + 1.96 SD``.
        low: Lower bound of the 95 % bootstrap interval of the bias, by patient.
        high: Upper bound.
    """

    n: int
    patients: int
    bias: float
    lower: float
    upper: float
    low: float
    high: float


def bland_altman(values: Iterable[tuple[str, float, float]], draws: int = 2000, seed: int = 0) -> BlandAltman:
    """Limits of agreement between measured and reference sizes.

    Args:
        values: ``(patient, measured, reference)`` for each scan, both in one unit. Pairs with a NaN are left out.
        draws: Draws of the bootstrap.
        seed: Its seed.
    """
    rows = [(patient, m - r) for patient, m, r in values if np.isfinite(m) and np.isfinite(r)]
    if not rows:
        return BlandAltman(0, 0, NAN, NAN, NAN, NAN, NAN)
    difference = np.array([d for _, d in rows])
    bias = float(difference.mean())
    spread = 1.96 * float(difference.std(ddof=1)) if len(rows) > 1 else NAN
    by_patient = patient_means(rows)
    low, high = bootstrap_interval(np.array(list(by_patient.values())), draws, seed)
    return BlandAltman(len(rows), len(by_patient), bias, bias - spread, bias + spread, low, high)


def few_patients_note(n: int) -> str:
    """What a small number of patients means for the figures; empty from 30 patients on."""
    if n >= FEW_PATIENTS:
        return ""
    if n < 2:
        return f"{n} patient{'' if n == 1 else 's'}: no interval can be given, and nothing follows for other patients."
    return (
        f"{n} patients: the intervals are approximate and tend to be too narrow, one patient can move a mean, and a "
        "difference between models that is not significant may still be real."
    )
