"""Dice as a line in a prediction's figures, and the interval that the next patient's Dice lies in nine times in ten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.quality.reference import DiceFit

ENOUGH = 16  # patients for a predicted Dice; the interval's bounds are then about the worst and the best of them
PENALTY = 10.0  # of the ridge regression, in patients
LEAST_SPREAD = 0.005  # of Dice; no figure predicts it better
BOUNDS = (0.05, 0.95)  # of the interval

Floats = NDArray[np.float64]


def fit_dice(rows: Sequence[Mapping[str, float]], dice: Sequence[float], patients: Sequence[str]) -> DiceFit | None:
    """Fit Dice to figures of out-of-fold predictions; ``None`` where the patients are too few.

    The interval is made of what is left over when each patient's scans are predicted by the other patients, as a fit
    knows the patients that it was made of better than the next one.

    Args:
        rows: Figures of each prediction; those that one of them lacks are not used.
        dice: Dice of each prediction.
        patients: Patient of each.

    Source: Hoerl & Kennard, Ridge regression, Technometrics 12 (1970). Robinson et al., Real-time prediction of
    segmentation quality (MICCAI 2018), predict Dice likewise without a reference.
    """
    if len(set(patients)) < ENOUGH:
        return None
    names = [name for name in rows[0] if all(name in row for row in rows)]
    x, y = np.array([[row[name] for name in names] for row in rows]), np.array(dice, float)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale < 1e-6] = 1.0
    design = np.column_stack([np.ones(len(y)), (x - mean) / scale])
    inverse = np.linalg.inv(design.T @ design + np.diag([0.0] + [PENALTY] * len(names)))
    weights = inverse @ design.T @ y
    rest = _left_by_others(design, inverse, y - design @ weights, patients)
    low, high = patient_quantiles(rest, patients, BOUNDS)
    return DiceFit(
        figures={n: (float(m), float(s), float(w)) for n, m, s, w in zip(names, mean, scale, weights[1:], strict=True)},
        intercept=float(weights[0]),
        low=low,
        high=high,
        spread=max(float(np.sqrt(np.mean(rest**2))), LEAST_SPREAD),
    )


def _left_by_others(design: Floats, inverse: Floats, rest: Floats, patients: Sequence[str]) -> Floats:
    """What a ridge regression that was fitted without a patient leaves of that patient's values.

    ``(I - H)⁻¹ r`` with the patient's block of the hat matrix and residuals, which is the refit exactly.

    Source: Hastie, Tibshirani & Friedman, The Elements of Statistical Learning (2009), section 7.10, for blocks.
    """
    left = np.empty_like(rest)
    groups: dict[str, list[int]] = {}
    for index, patient in enumerate(patients):
        groups.setdefault(patient, []).append(index)
    for own in groups.values():
        block = design[own] @ inverse @ design[own].T
        left[own] = np.linalg.solve(np.eye(len(own)) - block, rest[own])
    return left


def patient_quantiles(values: Floats, patients: Sequence[str], levels: Sequence[float]) -> list[float]:
    """Quantiles for a scan of the next patient: each patient counts once, and the next as one that is not known.

    Of n patients with a scan each, the i-th smallest value is the quantile i / (n + 1), which has the coverage that its
    name says of a further patient; below 19 patients the outer ones are the least and the largest value.

    Source: Lee, Barber & Willett, Distribution-free inference with hierarchical data (2023), arXiv:2306.06342.
    """
    counts = {patient: list(patients).count(patient) for patient in set(patients)}
    order = np.argsort(values, kind="stable")
    share = np.array([1 / counts[patients[index]] for index in order])
    places = (np.cumsum(share) - share / 2 + 0.5) / (len(counts) + 1)
    return [float(value) for value in np.interp(levels, places, values[order])]
