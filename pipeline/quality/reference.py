"""What is expected of a scan and its organs: ``quality.json``, which ``select`` writes and each verdict reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict


class Interval(BaseModel):
    """Where a figure of a new scan is expected: ``middle ± half``, or from ``middle - below`` where that is given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    middle: float
    half: float
    below: float | None = None


class DiceFit(BaseModel):
    """Dice as a line in some figures, fitted by ridge regression on out-of-fold predictions.

    Attributes:
        figures: Figure → its mean, its standard deviation, and the weight of their standardised value.
        intercept: Mean Dice.
        low: 5th percentile of what the line leaves of patients that it was not fitted to.
        high: 95th percentile of it.
        spread: Its standard deviation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    figures: dict[str, tuple[float, float, float]]
    intercept: float
    low: float
    high: float
    spread: float

    def predict(self, figures: Mapping[str, float]) -> float:
        """Dice of an organ, from :func:`dice_figures`; figures far out count as three standard deviations."""
        terms = (
            weight * min(max((figures[name] - mean) / scale, -3.0), 3.0)
            for name, (mean, scale, weight) in self.figures.items()
        )
        return self.intercept + sum(terms)


class OrganReference(BaseModel):
    """What is expected of one organ.

    Attributes:
        intervals: Figure → interval.
        present: Share of development scans that have the organ.
        dice: How Dice follows from the figures; ``None`` where the patients are too few.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    intervals: dict[str, Interval]
    present: float
    dice: DiceFit | None = None


class QualityReference(BaseModel):
    """``quality.json``.

    Attributes:
        scan: Figures of the scan itself.
        coarse: Mean coarse picture of the development scans, flattened.
        sides: Weights that tell a coarse picture from its mirror image, flattened.
        organs: Organ → what is expected of it.
        limit: Dice below which a segmentation needs correction.
        alarm: How far below the limit, in standard errors, a predicted Dice must lie for a person to look.
        figures: How well the verdicts found bad segmentations, out of fold.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scan: dict[str, Interval]
    coarse: list[float]
    sides: list[float]
    organs: dict[str, OrganReference]
    mirror_pairs: list[tuple[str, str]] = []
    limit: float = 0.0
    alarm: float | None = None
    figures: dict[str, Any] = {}


def predicted_dice(fit: DiceFit, figures: Mapping[str, float]) -> tuple[float, float, float]:
    """Predicted Dice and its 90 % interval."""
    value = fit.predict(figures)
    middle, least, most = np.clip([value, value + fit.low, value + fit.high], 0, 1)
    return float(middle), float(least), float(most)


def shortfall(fit: DiceFit, dice: float, limit: float) -> float:
    """How far a predicted Dice lies below a limit, in standard errors of the prediction."""
    return (limit - dice) / fit.spread
