"""Overlap of two masks: counts of voxels, and the figures that follow from them.

The worked example of the tutorial: the reference has 17 pixels, the prediction 11 of them.

>>> import numpy as np
>>> reference = np.zeros((10, 10), bool)
>>> reference[1:4, 1:6] = True
>>> reference[4, [2, 5]] = True
>>> prediction = reference.copy()
>>> prediction[1:3, 1:4] = False
>>> counts = overlap(prediction, reference)
>>> (counts.true_positive, counts.false_positive, counts.false_negative)
(11, 0, 6)
>>> round(counts.accuracy, 4), round(counts.dice, 4), round(counts.iou, 4)
(0.94, 0.7857, 0.6471)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.surfaces import Mask
from pipeline.metrics.empty import EmptyCase

NAN = float("nan")
#: Thresholds of the mean IoU of a probability map: 0.50, 0.55 … 0.95.
THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


@dataclass(frozen=True)
class Overlap:
    """Voxels of two masks, counted.

    Attributes:
        true_positive: In both.
        false_positive: In the prediction alone.
        false_negative: In the reference alone.
        total: Voxels that were looked at.
    """

    true_positive: int
    false_positive: int
    false_negative: int
    total: int

    @property
    def predicted(self) -> int:
        """Voxels of the prediction."""
        return self.true_positive + self.false_positive

    @property
    def reference(self) -> int:
        """Voxels of the reference."""
        return self.true_positive + self.false_negative

    @property
    def case(self) -> EmptyCase:
        """Which of the two masks is empty."""
        if self.predicted and self.reference:
            return "both"
        if self.predicted:
            return "empty_reference"
        return "empty_prediction" if self.reference else "both_empty"

    @property
    def dice(self) -> float:
        """``2 TP / (2 TP + FP + FN)``; NaN where both are empty."""
        return ratio(2 * self.true_positive, self.predicted + self.reference)

    @property
    def iou(self) -> float:
        """``TP / (TP + FP + FN)``; NaN where both are empty."""
        return ratio(self.true_positive, self.predicted + self.false_negative)

    @property
    def precision(self) -> float:
        """``TP / (TP + FP)``; NaN where nothing was predicted."""
        return ratio(self.true_positive, self.predicted)

    @property
    def recall(self) -> float:
        """``TP / (TP + FN)``; NaN where the reference is empty."""
        return ratio(self.true_positive, self.reference)

    @property
    def accuracy(self) -> float:
        """Share of voxels that agree, background included (pixel accuracy)."""
        return ratio(self.total - self.false_positive - self.false_negative, self.total)


def ratio(part: float, whole: float) -> float:
    """A share; NaN of nothing."""
    return part / whole if whole else NAN


def overlap(prediction: Mask, reference: Mask, total: int | None = None) -> Overlap:
    """Count the voxels of two boolean masks of one shape.

    Args:
        prediction: Any shape.
        reference: Same shape.
        total: Voxels that were looked at, where the masks were cropped from something larger.
    """
    shared = int(np.count_nonzero(prediction & reference))
    return Overlap(
        shared,
        int(np.count_nonzero(prediction)) - shared,
        int(np.count_nonzero(reference)) - shared,
        prediction.size if total is None else total,
    )


def dice(prediction: Mask, reference: Mask) -> float:
    """Dice of two boolean masks of one shape; NaN where both are empty, 0 where one is."""
    return overlap(prediction, reference).dice


def mean_iou_over_thresholds(probability: NDArray[np.floating[Any]], reference: Mask) -> float:
    """Mean of the IoU of ``probability > t`` with the reference over the thresholds ``t`` of :data:`THRESHOLDS`.

    Source: the score of the U-Net tutorials that followed the 2018 Data Science Bowl.

    Args:
        probability: Any shape, 0 to 1.
        reference: Same shape.

    Returns:
        NaN where the reference is empty and no probability exceeds some threshold.
    """
    # One pass sorts every voxel into the band between two thresholds; sums from the top give every cut.
    band = np.searchsorted(np.asarray(THRESHOLDS, probability.dtype), probability.ravel(), side="left")
    bands = len(THRESHOLDS) + 1
    everything = np.bincount(band, minlength=bands)
    inside = np.bincount(band[reference.ravel()], minlength=bands)
    predicted, shared = (counts[::-1].cumsum()[::-1][1:] for counts in (everything, inside))
    union = predicted + inside.sum() - shared
    return float(np.mean([ratio(s, u) for s, u in zip(shared, union, strict=True)]))
