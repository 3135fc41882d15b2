"""Dice per organ on whole scans of the validation fold, by sliding window, on the plan's grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from pipeline.core.labels import LabelMap
from pipeline.core.plan import Plan
from pipeline.imaging.preprocessing import decide
from pipeline.inference.sliding_window import predict_probabilities
from pipeline.metrics.overlap import dice
from pipeline.train.data import PreparedScan


def segment_scan(network: nn.Module, scan: PreparedScan, plan: Plan, device: Any, precision: str = "fp32") -> LabelMap:
    """The organs that a network finds in one scan, on the prepared grid."""
    probabilities = predict_probabilities(
        network, scan.image, plan, device=device, batch=max(plan.batch, 1), precision=precision
    )
    reference = scan.label_map(plan)
    return LabelMap(
        decide(probabilities.numpy(), plan), reference.affine, reference.organs, plan.overlapping, reference.annotated
    )


def score_scan(found: LabelMap, scan: PreparedScan, plan: Plan) -> list[float]:
    """Dice of each organ on one scan; NaN where the organ is absent in both masks or not annotated."""
    reference = scan.label_map(plan)
    counted = ~reference.ignored()
    return [
        dice(found.mask(organ) & counted, reference.mask(organ) & counted)
        if organ in reference.annotated
        else float("nan")
        for organ in plan.organs
    ]


def means(rows: Sequence[Sequence[float]], organs: Sequence[str]) -> tuple[dict[str, float | None], float | None]:
    """Mean Dice of each organ over scans that have it, and the mean over organs; ``None`` where no scan has it."""
    table = np.array(rows, float).reshape(len(rows), len(organs))
    each: dict[str, float | None] = {}
    for organ, column in zip(organs, table.T, strict=True):
        known = column[~np.isnan(column)]
        each[organ] = float(known.mean()) if known.size else None
    values = [value for value in each.values() if value is not None]
    return each, float(np.mean(values)) if values else None


def spread(scans: Sequence[PreparedScan], most: int) -> list[PreparedScan]:
    """At most ``most`` scans, evenly along the list."""
    if len(scans) <= most:
        return list(scans)
    return [scans[int((index + 0.5) * len(scans) / most)] for index in range(most)]
