"""The predicted Dice: its interval covers what it claims, of patients that the fit never saw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.quality.dice_fit import ENOUGH, PENALTY, fit_dice, patient_quantiles
from pipeline.quality.reference import DiceFit, predicted_dice

FIGURES = ("certainty", "likeness", "whole", "size", "place", "passes", "models")


def cohort(
    generator: np.random.Generator, patients: int, scans: int, noise: str
) -> tuple[list[Any], list[Any], list[Any]]:
    """Scans of which two figures tell of Dice, a patient's alike; the noise is normal, or long towards poor ones."""
    rows, dice, names = [], [], []
    for patient in range(patients):
        shared = generator.normal(0, 0.02) if scans > 1 else 0.0
        for _ in range(scans if patient % 2 else 1):
            row = {name: float(generator.normal()) for name in FIGURES}
            rest = generator.normal(0, 0.03) if noise == "normal" else 0.02 - generator.exponential(0.03)
            dice.append(0.8 + 0.03 * row["certainty"] + 0.02 * row["passes"] + shared + rest)
            rows.append(row)
            names.append(f"p{patient}")
    return rows, dice, names


def coverage(patients: int, scans: int, noise: str, cohorts: int = 60) -> float:
    """Share of scans of patients who took no part whose Dice lies in the interval; a patient counts once."""
    generator = np.random.default_rng(patients)
    inside = []
    for _ in range(cohorts):
        fit = fit_dice(*cohort(generator, patients, scans, noise))
        assert fit is not None
        rows, dice, _ = cohort(generator, 100, 1, noise)
        if scans > 1:
            dice = [value + generator.normal(0, 0.02) for value in dice]
        for row, value in zip(rows, dice, strict=True):
            _, low, high = predicted_dice(fit, row)
            inside.append(low <= value <= high)
    return float(np.mean(inside))


@pytest.mark.parametrize("noise", ["normal", "skewed"])
@pytest.mark.parametrize(("patients", "scans"), [(ENOUGH, 1), (24, 1), (60, 1), (24, 4)])
def test_the_interval_covers_nine_in_ten(patients: int, scans: int, noise: str) -> None:
    """Of 60 cohorts with 100 further patients each; of 16 patients, the worst and the best of whom bound 15 in 17."""
    found = coverage(patients, scans, noise)
    assert 0.9 - 0.035 <= found <= 0.9 + 0.035


def test_what_is_left_of_a_patient_is_that_of_a_refit() -> None:
    """Against fits without the patient, with the same standardisation."""
    rows, dice, patients = cohort(np.random.default_rng(3), 20, 3, "normal")
    x = np.array([[row[name] for name in FIGURES] for row in rows])
    design = np.column_stack([np.ones(len(x)), (x - x.mean(0)) / x.std(0)])
    left = np.empty(len(x))
    for patient in set(patients):
        own = np.array([name == patient for name in patients])
        penalty = np.diag([0.0] + [PENALTY] * len(FIGURES))
        weights = np.linalg.solve(design[~own].T @ design[~own] + penalty, design[~own].T @ np.array(dice)[~own])
        left[own] = np.array(dice)[own] - design[own] @ weights
    fit = fit_dice(rows, dice, patients)
    assert fit is not None
    assert [fit.low, fit.high] == pytest.approx(patient_quantiles(left, patients, (0.05, 0.95)))
    assert fit.spread == pytest.approx(np.sqrt(np.mean(left**2)))


def test_quantiles_of_the_next_patient() -> None:
    values = np.arange(1.0, 20.0)
    each = [f"p{number}" for number in range(19)]
    assert patient_quantiles(values[::-1], each, (0.05, 0.5, 0.95)) == pytest.approx([1, 10, 19])
    # A patient with many scans counts as one: four fifths lie above those of the first.
    many = np.r_[np.zeros(40), values[:4]]
    assert patient_quantiles(many, ["p"] * 40 + each[:4], (0.5,))[0] > 1


def test_figures_that_a_scan_lacks_are_not_used() -> None:
    rows, dice, patients = cohort(np.random.default_rng(0), 20, 1, "normal")
    del rows[3]["passes"]
    fit = fit_dice(rows, dice, patients)
    assert isinstance(fit, DiceFit)
    assert set(fit.figures) == set(FIGURES) - {"passes"}
    assert fit_dice(rows[: ENOUGH - 1], dice[: ENOUGH - 1], patients[: ENOUGH - 1]) is None
    assert fit_dice([], [], []) is None
