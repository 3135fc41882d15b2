"""Measures that clinicians take from masks, and how well two sets of them agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.core.labels import LabelMap
from pipeline.imaging.surfaces import Floats, Mask, bounding_box
from pipeline.metrics.overlap import NAN

#: Organs that the cardiothoracic ratio is measured on.
HEART, LUNGS = "heart", ("left_lung", "right_lung")


def width(mask: Mask, axis: int) -> int:
    """Extent of a mask along one axis, from its first to its last voxel, in voxels; 0 where it is empty."""
    box = bounding_box(mask)
    return box[axis].stop - box[axis].start if box else 0


def cardiothoracic_ratio(labels: LabelMap) -> float:
    """Largest width of the heart over largest width of the thorax in a frontal radiograph.

    The heart's width runs from its rightmost to its leftmost point, whatever their height (the sum of the two distances
    to the midline), the thorax's from the outer border of one lung to that of the other. Source: Danzer, Am J Med Sci
    157 (1919). The ratio needs no millimetres.

    Returns:
        NaN where heart or a lung is absent or not annotated.
    """
    if not {HEART, *LUNGS} <= labels.annotated:
        return NAN
    axis = labels.grid.lateral_axis
    lungs = [labels.mask(name) for name in LUNGS]
    heart = width(labels.mask(HEART), axis)
    if not heart or not all(lung.any() for lung in lungs):
        return NAN
    return heart / width(lungs[0] | lungs[1], axis)


@dataclass(frozen=True)
class RatioAgreement:
    """How well one set of measurements follows another.

    Attributes:
        n: Pairs that are defined on both sides.
        mean_absolute_error: In the unit of the measurements.
        bias: Mean of measured minus reference.
        correlation: Pearson's r; NaN for fewer than three pairs or where one side never changes.
    """

    n: int
    mean_absolute_error: float
    bias: float
    correlation: float


def agreement(measured: Floats, reference: Floats) -> RatioAgreement:
    """Compare measurements with their references, pair by pair; pairs with a NaN are left out."""
    both = np.isfinite(measured) & np.isfinite(reference)
    measured, reference = measured[both], reference[both]
    n = len(measured)
    if n == 0:
        return RatioAgreement(0, NAN, NAN, NAN)
    difference = measured - reference
    varies = n > 2 and np.ptp(measured) > 0 and np.ptp(reference) > 0
    r = float(np.corrcoef(measured, reference)[0, 1]) if varies else NAN
    return RatioAgreement(n, float(np.abs(difference).mean()), float(difference.mean()), r)
