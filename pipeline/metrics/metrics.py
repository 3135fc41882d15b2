"""Figures of one segmentation against its reference, organ by organ: definitions, units and the rule for empty masks.

Overlap of the worked example of the tutorial: the reference has 17 pixels, the prediction 11 of them.

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

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.core.labels import LabelMap
from pipeline.imaging.components import LESION_OVERLAP, Lesions, LossCauses, loss_causes, match_lesions
from pipeline.imaging.surfaces import Floats, Mask, bounding_box, surface_distances, union_box
from pipeline.metrics.empty import Case, Convention, at_empty

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
    def case(self) -> Case:
        """Which of the two masks is empty."""
        if self.predicted and self.reference:
            return "both"
        if self.predicted:
            return "empty_reference"
        return "empty_prediction" if self.reference else "both_empty"

    @property
    def dice(self) -> float:
        """``2 TP / (2 TP + FP + FN)``; NaN where both are empty."""
        return _ratio(2 * self.true_positive, self.predicted + self.reference)

    @property
    def iou(self) -> float:
        """``TP / (TP + FP + FN)``; NaN where both are empty."""
        return _ratio(self.true_positive, self.predicted + self.false_negative)

    @property
    def precision(self) -> float:
        """``TP / (TP + FP)``; NaN where nothing was predicted."""
        return _ratio(self.true_positive, self.predicted)

    @property
    def recall(self) -> float:
        """``TP / (TP + FN)``; NaN where the reference is empty."""
        return _ratio(self.true_positive, self.reference)

    @property
    def accuracy(self) -> float:
        """Share of voxels that agree, background included (pixel accuracy)."""
        return _ratio(self.total - self.false_positive - self.false_negative, self.total)


def _ratio(part: float, whole: float) -> float:
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


def mean_iou_over_thresholds(
    probability: NDArray[np.floating[Any]], reference: Mask, thresholds: Sequence[float] = THRESHOLDS
) -> float:
    """Mean of the IoU of ``probability > t`` with the reference over the thresholds ``t``.

    Source: the score of the U-Net tutorials that followed the 2018 Data Science Bowl.

    Args:
        probability: Any shape, 0 to 1.
        reference: Same shape.
        thresholds: At which to cut, ascending.

    Returns:
        NaN where the reference is empty and no probability exceeds some threshold.
    """
    # One pass sorts every voxel into the band between two thresholds; sums from the top give every cut.
    band = np.searchsorted(np.asarray(thresholds, probability.dtype), probability.ravel(), side="left")
    bands = len(thresholds) + 1
    everything = np.bincount(band, minlength=bands)
    inside = np.bincount(band[reference.ravel()], minlength=bands)
    predicted, shared = (counts[::-1].cumsum()[::-1][1:] for counts in (everything, inside))
    union = predicted + inside.sum() - shared
    return float(np.mean([_ratio(s, u) for s, u in zip(shared, union, strict=True)]))


@dataclass(frozen=True)
class OrganMetrics:
    """Every figure of one organ in one scan. What a convention leaves undefined is NaN.

    Attributes:
        case: Which mask is empty, if any.
        counts: Voxels.
        dice: ``2 TP / (2 TP + FP + FN)``.
        iou: ``TP / (TP + FP + FN)``.
        precision: ``TP / (TP + FP)``.
        recall: ``TP / (TP + FN)``.
        accuracy: Share of all voxels that agree on this organ.
        hd95: Larger of the two directed 95th percentiles of the boundary voxels' distances, in ``unit``.
        assd: Mean distance over the boundary voxels of both masks, in ``unit``.
        nsd: Tolerance → surface Dice: share of both surfaces' area within the tolerance.
        volume_ref: Size of the reference in ``volume_unit``.
        volume_pred: Size of the prediction in ``volume_unit``.
        volume_difference: ``(predicted - reference) / reference``; NaN where the reference is empty.
        centroid_distance: Between the centres of gravity, in ``unit``.
        unit: ``mm``, or ``px`` where the spacing is unknown.
        volume_unit: ``mL``, ``cm²`` for pictures, ``voxels`` or ``px²`` where the spacing is unknown.
        causes: Why Dice was lost, where asked for.
        lesions: Lesion-wise detection, where asked for.
    """

    case: Case
    counts: Overlap
    dice: float
    iou: float
    precision: float
    recall: float
    accuracy: float
    hd95: float
    assd: float
    nsd: dict[float, float]
    volume_ref: float
    volume_pred: float
    volume_difference: float
    centroid_distance: float
    unit: Literal["mm", "px"]
    volume_unit: str
    causes: LossCauses | None = None
    lesions: Lesions | None = None


@dataclass(frozen=True)
class Settings:
    """What to measure, and by which conventions.

    Attributes:
        tolerances: Of surface Dice, in ``unit``.
        unit: ``mm``, or ``px`` where the spacing is unknown (the spacing then is 1 along each axis).
        convention: Rule for empty masks.
        surfaces: Measure surface distances.
        causes: Say why Dice was lost.
        lesions: Count components as lesions.
        lesion_overlap: Share of a lesion that must be covered for it to count as found.
    """

    tolerances: tuple[float, ...] = (1.0, 2.0)
    unit: Literal["mm", "px"] = "mm"
    convention: Convention = "organseg"
    surfaces: bool = True
    causes: bool = True
    lesions: bool = False
    lesion_overlap: float = LESION_OVERLAP


def organ_metrics(
    prediction: Mask, reference: Mask, spacing: Sequence[float], settings: Settings | None = None
) -> OrganMetrics:
    """Measure one organ.

    Args:
        prediction: ``(X, Y, Z)`` boolean, ``Z == 1`` for a picture; or ``(X, Y)``.
        reference: Same shape.
        spacing: mm (or pixels) along each axis.
        settings: What to measure.

    Raises:
        ValueError: The shapes differ.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction is {prediction.shape}, reference {reference.shape}")
    box = union_box(bounding_box(prediction), bounding_box(reference))
    box = box or tuple(slice(0, 1) for _ in prediction.shape)
    return _measure(
        prediction[box], reference[box], None, spacing, prediction.size, _flat(prediction), settings or Settings()
    )


def _flat(array: NDArray[Any]) -> bool:
    return array.ndim == 2 or array.shape[2] == 1


def compare_labels(
    prediction: LabelMap,
    reference: LabelMap,
    spacing: Sequence[float],
    settings: Settings | Mapping[str, Settings] | None = None,
    organs: Collection[str] | None = None,
) -> dict[str, OrganMetrics]:
    """Measure every organ of a label map that is annotated in the reference.

    Voxels that the reference marks to ignore count in neither mask.

    Args:
        prediction: Of the same organs in the same order, exclusive or overlapping as the reference.
        reference: The truth, on the same grid.
        spacing: mm (or pixels) along each axis.
        settings: What to measure, for all organs or for each.
        organs: Only these.

    Raises:
        ValueError: Shapes, organs or kinds differ.
    """
    if (prediction.organs, prediction.overlapping) != (reference.organs, reference.overlapping):
        raise ValueError("prediction and reference name different organs, or one is overlapping and the other is not")
    if prediction.data.shape != reference.data.shape:
        raise ValueError(f"prediction is {prediction.data.shape}, reference {reference.data.shape}")
    predicted, truth, total = _without_ignored(prediction, reference)
    outer = union_box(bounding_box(predicted), bounding_box(truth)) or tuple(slice(0, 1) for _ in range(3))
    predicted, truth = predicted[outer], truth[outer]
    measured = {}
    for index, organ in enumerate(reference.organs):
        if organ not in reference.annotated or (organs is not None and organ not in organs):
            continue
        chosen = settings.get(organ, Settings()) if isinstance(settings, Mapping) else settings or Settings()
        masks = [_mask(data, index, reference.overlapping) for data in (predicted, truth)]
        box = union_box(*(bounding_box(mask) for mask in masks)) or tuple(slice(0, 1) for _ in range(3))
        swapped = _swapped(predicted[box], truth[box], index, reference.overlapping) if chosen.causes else None
        flat = _flat(reference.data)
        measured[organ] = _measure(masks[0][box], masks[1][box], swapped, spacing, total, flat, chosen)
    return measured


def _without_ignored(
    prediction: LabelMap, reference: LabelMap
) -> tuple[NDArray[np.unsignedinteger], NDArray[np.unsignedinteger], int]:
    ignored = reference.ignored()
    count = int(np.count_nonzero(ignored))
    if not count:
        return prediction.data, reference.data, ignored.size
    zero = reference.data.dtype.type(0)
    return np.where(ignored, zero, prediction.data), np.where(ignored, zero, reference.data), ignored.size - count


def _mask(data: NDArray[np.unsignedinteger], index: int, overlapping: bool) -> Mask:
    return (data & data.dtype.type(1 << index)) != 0 if overlapping else data == index + 1


def _swapped(
    predicted: NDArray[np.unsignedinteger], truth: NDArray[np.unsignedinteger], index: int, overlapping: bool
) -> Mask:
    """Voxels where one map has this organ and the other has another organ in its stead."""
    if not overlapping:
        return (predicted != 0) & (truth != 0) & (predicted != truth)
    bit = predicted.dtype.type(1 << index)
    only_predicted, only_truth = predicted & ~truth, truth & ~predicted
    lost = ((only_truth & bit) != 0) & ((only_predicted & ~bit) != 0)
    return lost | (((only_predicted & bit) != 0) & ((only_truth & ~bit) != 0))


def _measure(
    prediction: Mask,
    reference: Mask,
    swapped: Mask | None,
    spacing: Sequence[float],
    total: int,
    flat: bool,
    settings: Settings,
) -> OrganMetrics:
    """Measure two masks that are cropped to the box of their union."""
    spacing = tuple(float(s) for s in spacing)
    if flat:
        prediction, reference = prediction.reshape(prediction.shape[:2]), reference.reshape(reference.shape[:2])
        swapped = None if swapped is None else swapped.reshape(swapped.shape[:2])
        spacing = spacing[:2]
    counts = overlap(prediction, reference, total)
    figures: dict[str, float] = {
        "dice": counts.dice,
        "iou": counts.iou,
        "precision": counts.precision,
        "recall": counts.recall,
        "hd95": NAN,
        "assd": NAN,
    }
    nsd = dict.fromkeys(settings.tolerances, NAN)
    apart = NAN
    if counts.case == "both":
        apart = float(np.linalg.norm((_centroid(prediction) - _centroid(reference)) * np.array(spacing)))
        if settings.surfaces:
            distances = surface_distances(prediction, reference, spacing)
            figures |= {"hd95": distances.hausdorff(95), "assd": distances.average()}
            nsd = {tolerance: distances.surface_dice(tolerance) for tolerance in settings.tolerances}
    else:
        ruled = at_empty(settings.convention, counts.case)
        figures |= {name: value for name, value in ruled.items() if name in figures}
        if settings.surfaces:
            nsd = dict.fromkeys(settings.tolerances, ruled["nsd"])
    causes = None
    if settings.causes:
        band = max(max(spacing), max(settings.tolerances, default=0.0))
        causes = loss_causes(prediction, reference, swapped, spacing, band)
    size = float(np.prod(spacing))
    scale, volume_unit = _volume(flat, settings.unit)
    return OrganMetrics(
        case=counts.case,
        counts=counts,
        **figures,
        accuracy=counts.accuracy,
        nsd=nsd,
        volume_ref=counts.reference * size * scale,
        volume_pred=counts.predicted * size * scale,
        volume_difference=_ratio(counts.predicted - counts.reference, counts.reference),
        centroid_distance=apart,
        unit=settings.unit,
        volume_unit=volume_unit,
        causes=causes,
        lesions=match_lesions(prediction, reference, settings.lesion_overlap) if settings.lesions else None,
    )


def _volume(flat: bool, unit: Literal["mm", "px"]) -> tuple[float, str]:
    """Factor from mm³ or mm² (or from voxels) to the unit of sizes."""
    if unit == "px":
        return 1.0, "px²" if flat else "voxels"
    return (0.01, "cm²") if flat else (0.001, "mL")


def _centroid(mask: Mask) -> Floats:
    """Centre of gravity in voxels, from the counts along each axis."""
    axes = range(mask.ndim)
    centre = []
    for axis in axes:
        counts = np.count_nonzero(mask, axis=tuple(i for i in axes if i != axis))
        centre.append(float(counts @ np.arange(mask.shape[axis]) / counts.sum()))
    return np.array(centre)
