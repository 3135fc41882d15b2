"""Whether slice positions that were rounded when they were written can come from slices at one distance."""

from __future__ import annotations

import numpy as np

from pipeline.core.scan import Array

#: Decimals that positions are looked at with; what has more was not rounded to speak of.
_MOST_DECIMALS = 3


def rounding_of(positions: Array) -> float:
    """The step in mm that every coordinate is a multiple of, 1, 0.1, 0.01 or 0.001; 0 where there is none.

    Args:
        positions: ``(slices, 3)``, mm.
    """
    for decimals in range(_MOST_DECIMALS + 1):
        scaled = positions * 10**decimals
        if np.abs(scaled - np.rint(scaled)).max() < 1e-6:
            return float(10**-decimals)
    return 0.0


def could_be_regular(along: Array, error: float) -> bool:
    """Whether one distance explains all positions, and no missing slice explains them as well.

    Rounding turns one distance into two that are a step of the rounding apart, and never into three.

    Args:
        along: Positions along the normal in rising order, mm.
        error: What each may be off by, mm.
    """
    count = np.arange(len(along))
    gaps = np.diff(along)
    if error <= 0 or gaps.max() - gaps.min() > 2 * error + 1e-6 or not _fits(along, count, error):
        return False
    # A slice that is missing leaves the widest gap, whatever the rounding.
    widest = np.flatnonzero(gaps > gaps.max() - 1e-6)
    return not any(_fits(along, count + (count > gap), error) for gap in widest)


def _fits(along: Array, numbers: Array, error: float) -> bool:
    """Whether ``start + step × number`` lies within ``error`` of each position for some start and step.

    For one step the best start leaves half the range of ``along − step × number``; that range is a convex function of
    the step, whose smallest value is found by halving.
    """

    def spread(step: float) -> float:
        rest = along - step * numbers
        return float(rest.max() - rest.min())

    mean = (along[-1] - along[0]) / (numbers[-1] - numbers[0])
    low, high = mean - 2 * error, mean + 2 * error
    for _ in range(50):
        first, second = low + (high - low) / 3, high - (high - low) / 3
        if spread(first) < spread(second):
            high = second
        else:
            low = first
    return spread((low + high) / 2) <= 2 * error + 1e-6
