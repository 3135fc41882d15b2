"""The rows of ``per_scan.csv``: every figure of one organ in one scan by one model, as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.core.files import Cells
from pipeline.core.labels import LabelMap
from pipeline.core.study import Study
from pipeline.core.units import LengthUnit, size_unit
from pipeline.metrics.clinical import HEART, cardiothoracic_ratio
from pipeline.metrics.empty import NO_PREDICTION, PRESENCE, by_presence
from pipeline.metrics.organs import MetricSettings, OrganMetrics, compare_labels

BASELINE = "mean shape"
MEAN = "mean"
CAUSES = ("border", "missed", "spurious", "swap")
#: Figures that every organ has, without those of surface Dice at each tolerance.
FIGURES = ("dice", "iou", "precision", "recall", "accuracy", "hd95", "assd", "nsd")
SIZES = ("volume_ref", "volume_pred", "volume_difference", "centroid_distance")
LESIONS = ("lesions_found", "lesions_missed", "lesions_spurious", "lesion_f1")
RATIOS = ("ctr_ref", "ctr_pred")


def nsd_name(tolerance: float) -> str:
    """Column of surface Dice at a tolerance, such as ``nsd_1.5``."""
    return f"nsd_{tolerance:g}"


def figure_columns(tolerances: Sequence[float]) -> tuple[str, ...]:
    """Columns of overlap and surface figures."""
    return (*FIGURES, *(nsd_name(tolerance) for tolerance in tolerances), *PRESENCE)


def table_columns(tolerances: Sequence[float], *, lesions: bool, ratio: bool, extra: Iterable[str] = ()) -> list[str]:
    """All columns of ``per_scan.csv``, in order."""
    return [
        *("scan_id", "patient_id", "model", "organ"),
        *figure_columns(tolerances),
        *SIZES,
        *("mean_iou", "pixel_accuracy", "unit", "volume_unit", "nsd_tolerance", "case"),
        *(f"lost_{cause}" for cause in CAUSES),
        *(LESIONS if lesions else ()),
        *(RATIOS if ratio else ()),
        *extra,
    ]


def study_columns(study: Study, extra: Iterable[str]) -> list[str]:
    """Columns of a study's ``per_scan.csv``; ``extra`` are the manifest's own."""
    return table_columns(
        study.evaluate.tolerances,
        lesions=any(organ.lesions for organ in study.organs.values()),
        ratio=study.evaluate.cardiothoracic_ratio,
        extra=extra,
    )


def organ_settings(study: Study, unit: LengthUnit) -> dict[str, MetricSettings]:
    """What to measure on each organ; the first tolerance is the organ's own, where it has one."""
    return {
        name: MetricSettings(
            tolerances=tuple(
                dict.fromkeys([organ.tolerance or study.evaluate.tolerances[0], *study.evaluate.tolerances])
            ),
            unit=unit,
            lesions=organ.lesions,
        )
        for name, organ in study.organs.items()
    }


def written(value: float | None) -> str:
    """A figure as text: ten digits, empty where it is undefined."""
    return "" if value is None or math.isnan(value) else f"{value:.10g}"


def pixel_accuracy(prediction: LabelMap, reference: LabelMap) -> float:
    """Share of voxels whose organs are all right, background included, without those to ignore."""
    same = prediction.data == reference.data
    ignored = reference.ignored()
    left_out = int(np.count_nonzero(ignored))
    if left_out:
        same &= ~ignored
    looked_at = ignored.size - left_out
    return int(np.count_nonzero(same)) / looked_at if looked_at else math.nan


def measured_rows(
    head: Mapping[str, str],
    prediction: LabelMap,
    reference: LabelMap,
    spacing: Sequence[float],
    settings: Mapping[str, MetricSettings],
    *,
    ratio: bool = False,
    mean_ious: Mapping[str, float] | None = None,
) -> list[Cells]:
    """Measure one scan.

    Args:
        head: Cells that every row has: scan, patient, model and the manifest's own columns.
        prediction: Label map on the grid of the reference.
        reference: The truth; organs that are not annotated have no row.
        spacing: mm (or pixels) along each axis.
        settings: Organ → what to measure.
        ratio: Add the cardiothoracic ratio to the heart's row.
        mean_ious: Organ → mean IoU over thresholds, where probabilities were kept.
    """
    rows = []
    # Where an organ was not annotated, the whole map cannot be right or wrong.
    complete = reference.annotated == frozenset(reference.organs)
    overall = written(pixel_accuracy(prediction, reference) if complete else math.nan)
    for organ, figures in compare_labels(prediction, reference, spacing, settings).items():
        row = {**head, "organ": organ, **organ_cells(figures), "pixel_accuracy": overall}
        if mean_ious:
            row["mean_iou"] = written(mean_ious.get(organ, math.nan))
        if ratio and organ == HEART:
            row |= {
                "ctr_ref": written(cardiothoracic_ratio(reference)),
                "ctr_pred": written(cardiothoracic_ratio(prediction)),
            }
        rows.append(row)
    return rows


def missing_rows(
    head: Mapping[str, str], organs: Iterable[str], settings: Mapping[str, MetricSettings], *, flat: bool
) -> list[Cells]:
    """Rows of a scan that a model has no usable prediction for: they have a case, and no figures."""
    rows = []
    for organ in organs:
        unit = settings[organ].unit
        sizes = size_unit(unit, flat=flat)
        rows.append({**head, "organ": organ, "unit": unit, "volume_unit": sizes, "case": NO_PREDICTION})
    return rows


def organ_cells(measured: OrganMetrics) -> Cells:
    """One organ's figures as cells."""
    tolerances: dict[str, Any] = {nsd_name(t): written(value) for t, value in measured.nsd.items()}
    headline = next(iter(measured.nsd), None)
    cells: Cells = {
        **{name: written(getattr(measured, name)) for name in FIGURES if name != "nsd"},
        "nsd": "" if headline is None else written(measured.nsd[headline]),
        **tolerances,
        **{name: written(value) for name, value in by_presence(measured.case, measured.dice).items()},
        **{name: written(getattr(measured, name)) for name in SIZES},
        "unit": measured.unit,
        "volume_unit": measured.volume_unit,
        "nsd_tolerance": written(headline),
        "case": measured.case,
    }
    if measured.causes is not None:
        cells |= {f"lost_{cause}": written(measured.causes.lost(cause)) for cause in CAUSES}
    if (lesions := measured.lesions) is not None:
        counts = (lesions.found, lesions.missed, lesions.spurious)
        cells |= dict(zip(LESIONS, [*(str(count) for count in counts), written(lesions.f1)], strict=True))
    return cells
