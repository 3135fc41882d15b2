"""Every figure of one segmentation against its reference, organ by organ: overlap, surfaces, sizes, causes, lesions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.labels import LabelMap
from pipeline.core.units import LengthUnit, SizeUnit, size_unit, voxel_amount
from pipeline.imaging.components import Lesions, LossCauses, loss_causes, match_lesions
from pipeline.imaging.surfaces import Box, Floats, Mask, bounding_box, surface_distances, union_box
from pipeline.metrics.empty import Convention, EmptyCase, at_empty
from pipeline.metrics.overlap import NAN, Overlap, overlap, ratio


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

    case: EmptyCase
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
    unit: LengthUnit
    volume_unit: SizeUnit
    causes: LossCauses | None = None
    lesions: Lesions | None = None


@dataclass(frozen=True)
class MetricSettings:
    """What to measure, and by which conventions.

    Attributes:
        tolerances: Of surface Dice, in ``unit``.
        unit: ``mm``, or ``px`` where the spacing is unknown (the spacing then is 1 along each axis).
        convention: Rule for empty masks.
        causes: Say why Dice was lost.
        lesions: Count components as lesions.
    """

    tolerances: tuple[float, ...] = (1.0, 2.0)
    unit: LengthUnit = "mm"
    convention: Convention = "organseg"
    causes: bool = True
    lesions: bool = False


def compare_labels(
    prediction: LabelMap,
    reference: LabelMap,
    spacing: Sequence[float],
    settings: MetricSettings | Mapping[str, MetricSettings] | None = None,
) -> dict[str, OrganMetrics]:
    """Measure every organ of a label map that is annotated in the reference.

    Voxels that the reference marks to ignore count in neither mask.

    Args:
        prediction: Of the same organs in the same order, exclusive or overlapping as the reference.
        reference: The truth, on the same grid.
        spacing: mm (or pixels) along each axis.
        settings: What to measure, for all organs or for each.

    Raises:
        ValueError: Shapes, organs or kinds differ.
    """
    if (prediction.organs, prediction.overlapping) != (reference.organs, reference.overlapping):
        raise ValueError("prediction and reference name different organs, or one is overlapping and the other is not")
    if prediction.data.shape != reference.data.shape:
        raise ValueError(f"prediction is {prediction.data.shape}, reference {reference.data.shape}")
    predicted, truth, total = _without_ignored(prediction, reference)
    flat = reference.data.shape[2] == 1
    outer = _box(predicted, truth)
    predicted, truth = predicted[outer], truth[outer]
    measured = {}
    for index, organ in enumerate(reference.organs):
        if organ not in reference.annotated:
            continue
        chosen = (
            settings.get(organ, MetricSettings()) if isinstance(settings, Mapping) else settings or MetricSettings()
        )
        masks = [_mask(data, index, reference.overlapping) for data in (predicted, truth)]
        box = _box(*masks)
        swapped = _swapped(predicted[box], truth[box], index, reference.overlapping) if chosen.causes else None
        measured[organ] = _measure(masks[0][box], masks[1][box], swapped, spacing, total, flat, chosen)
    return measured


def _box(first: NDArray[Any], second: NDArray[Any]) -> Box:
    """Smallest box that holds what is not zero in either; one voxel where there is nothing."""
    return union_box(bounding_box(first), bounding_box(second)) or (slice(0, 1),) * 3


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
    settings: MetricSettings,
) -> OrganMetrics:
    """Measure two masks that are cropped to the box of their union."""
    spacing = tuple(float(s) for s in spacing)
    if flat:
        prediction, reference = prediction.reshape(prediction.shape[:2]), reference.reshape(reference.shape[:2])
        swapped = None if swapped is None else swapped.reshape(swapped.shape[:2])
        spacing = spacing[:2]
    counts = overlap(prediction, reference, total)
    figures = {name: getattr(counts, name) for name in ("dice", "iou", "precision", "recall")}
    distances, nsd = _surface_figures(prediction, reference, spacing, counts.case, settings)
    apart, causes = NAN, None
    if counts.case == "both":
        apart = float(np.linalg.norm((_centroid(prediction) - _centroid(reference)) * np.array(spacing)))
    else:
        ruled = at_empty(settings.convention, counts.case)
        figures = {name: ruled[name] for name in figures}
    if settings.causes:
        band = max(max(spacing), max(settings.tolerances, default=0.0))
        causes = loss_causes(prediction, reference, swapped, spacing, band)
    amount = voxel_amount(spacing, settings.unit, flat=flat)
    return OrganMetrics(
        case=counts.case,
        counts=counts,
        **figures,
        **distances,
        accuracy=counts.accuracy,
        nsd=nsd,
        volume_ref=counts.reference * amount,
        volume_pred=counts.predicted * amount,
        volume_difference=ratio(counts.predicted - counts.reference, counts.reference),
        centroid_distance=apart,
        unit=settings.unit,
        volume_unit=size_unit(settings.unit, flat=flat),
        causes=causes,
        lesions=match_lesions(prediction, reference) if settings.lesions else None,
    )


def _surface_figures(
    prediction: Mask, reference: Mask, spacing: Sequence[float], case: EmptyCase, settings: MetricSettings
) -> tuple[dict[str, float], dict[float, float]]:
    """HD95 and ASSD, and surface Dice at each tolerance."""
    if case == "both":
        found = surface_distances(prediction, reference, spacing)
        nsd = {tolerance: found.surface_dice(tolerance) for tolerance in settings.tolerances}
        return {"hd95": found.hausdorff(95), "assd": found.average()}, nsd
    ruled = at_empty(settings.convention, case)
    return {"hd95": ruled["hd95"], "assd": ruled["assd"]}, dict.fromkeys(settings.tolerances, ruled["nsd"])


def _centroid(mask: Mask) -> Floats:
    """Centre of gravity in voxels, from the counts along each axis."""
    axes = range(mask.ndim)
    centre = []
    for axis in axes:
        counts = np.count_nonzero(mask, axis=tuple(i for i in axes if i != axis))
        centre.append(float(counts @ np.arange(mask.shape[axis]) / counts.sum()))
    return np.array(centre)
