"""Tells a scan from its mirror image by what in it is not symmetric, before anything is segmented."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.core.scan import Array
from pipeline.quality.dice_fit import patient_quantiles
from pipeline.quality.reference import Interval

PARTS = 20  # of the patients: each is looked at with the weights of the others
SHRINKAGE = 1.0  # of the covariance towards equal variances, in mean variances
RARE = 0.01  # of good scans that may be taken for mirrored ones
STEEP = 3.0  # the risk grows from none to a look within a third of the way from the middle to the limit
TOLD = 0.5  # of mirrored scans that such a limit must find to be worth its false alarms


def side_weights(pictures: Array) -> NDArray[np.float64]:
    """Weights of a coarse picture's voxels whose weighted sum is positive for scans, and negative for mirrored ones.

    Fisher's discriminant of the pictures against their own mirror images, whose means differ in sign alone and whose
    covariance is the same; in standard deviations of the scans, and 0 where nothing is asymmetric.

    Args:
        pictures: ``(N, 8, 8, 8)`` or, of pictures, ``(N, 8, 8, 1)``; see
            :func:`~pipeline.quality.judge.coarse_picture`.

    Source: Friedman, Regularized discriminant analysis, JASA 84 (1989).
    """
    odd = (pictures - pictures[:, ::-1])[:, : pictures.shape[1] // 2] / 2
    flat = odd.reshape(len(odd), -1).astype(float)
    mean = flat.mean(axis=0)
    covariance = (flat - mean).T @ (flat - mean) / max(len(flat) - 1, 1)
    variance = float(np.trace(covariance)) / len(mean)
    regular = covariance + SHRINKAGE * (variance or 1.0) * np.eye(len(mean))
    weights = np.linalg.solve(regular, mean)
    spread = float(np.sqrt(weights @ regular @ weights))
    half = (weights / spread if spread > 0 else weights).reshape(odd.shape[1:])
    # Halved, as the sum runs over both sides.
    return np.concatenate([half, -half[::-1]]) / 2


def sides_by_others(pictures: Array, patients: Sequence[str]) -> list[float]:
    """Each scan's weighted sum, with the weights of other patients."""
    order = {patient: number % PARTS for number, patient in enumerate(sorted(set(patients)))}
    parts = np.array([order[patient] for patient in patients])
    found = np.zeros(len(pictures))
    for part in set(parts.tolist()):
        own = parts == part
        if not own.all():
            found[own] = np.tensordot(pictures[own], side_weights(pictures[~own]), 3)
    return [float(value) for value in found]


def side_interval(values: Sequence[float], patients: Sequence[str], usual: Interval) -> Interval:
    """Where the sum of the next scan is expected: above 0, where that takes few scans for mirrored ones.

    A mirrored scan is known to have the sum of its image with the other sign, so that what lies between is no matter of
    how unusual a value is. Where scans are as often one way round as the other, the usual interval stays.

    Args:
        values: What :func:`sides_by_others` found.
        patients: Patient of each.
        usual: The interval of a figure of which nothing more is known.
    """
    array = np.asarray(values, float)
    limit = min(0.0, patient_quantiles(array, patients, (RARE,))[0])
    if usual.middle <= 0 or np.mean(-array < limit) < TOLD:
        return usual
    # Steep, so that a scan on the right side of the limit has no more risk than other figures give a usual one, and one
    # that looks mirrored fails.
    below = (usual.middle - limit) / STEEP
    return Interval(middle=limit + below, half=usual.half, below=below)
