"""One organ's masks, measured as a label map of that organ alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.core.labels import LabelMap
from pipeline.metrics.organs import MetricSettings, OrganMetrics, compare_labels


def organ_metrics(
    prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float], settings: MetricSettings | None = None
) -> OrganMetrics:
    maps = [
        LabelMap.from_masks({"organ": mask}, np.eye(4), ["organ"], overlapping=False)
        for mask in (prediction, reference)
    ]
    return compare_labels(*maps, spacing, settings)["organ"]
