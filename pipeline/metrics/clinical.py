"""Measures that clinicians take from masks, and how well two sets of them agree."""

from __future__ import annotations

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


def agreement(measured: Floats, reference: Floats) -> dict[str, float]:
    """Compare measurements with their references, pair by pair.

    Returns:
        ``n_scans``, the pairs without a NaN; of these ``mean_absolute_error`` and ``bias`` (mean of measured minus
        reference), in the unit of the measurements, and ``correlation`` (Pearson's r; NaN for fewer than three pairs or
        where one side never changes).
    """
    both = np.isfinite(measured) & np.isfinite(reference)
    measured, reference = measured[both], reference[both]
    n = len(measured)
    difference = measured - reference
    varies = n > 2 and np.ptp(measured) > 0 and np.ptp(reference) > 0
    return {
        "n_scans": n,
        "mean_absolute_error": float(np.abs(difference).mean()) if n else NAN,
        "bias": float(difference.mean()) if n else NAN,
        "correlation": float(np.corrcoef(measured, reference)[0, 1]) if varies else NAN,
    }
