"""The headline figures, each by the inherited tester."""

import math

import numpy as np
import pytest
from scipy import ndimage

from pipeline.core.labels import LabelMap
from pipeline.metrics.organs import compare_labels
from pipeline.metrics.overlap import dice, overlap
from tests.metrics.contract import MetricContract

sklearn = pytest.importorskip("sklearn.metrics")

MISSED = {"both_empty": math.nan, "empty_reference": 0.0, "empty_prediction": 0.0}
LEFT_OUT = dict.fromkeys(MISSED, math.nan)


def figure(name, prediction, reference, spacing):
    """A figure of one organ as a study measures it."""
    affine = np.diag([*spacing, 1.0])
    maps = [LabelMap.from_masks({"organ": m}, affine, ("organ",), overlapping=False) for m in (prediction, reference)]
    return getattr(compare_labels(*maps, spacing)["organ"], name)


class TestDice(MetricContract):
    best = 1.0
    at_empty = MISSED

    def measure(self, prediction, reference, spacing):
        return dice(prediction, reference)

    def independent(self, prediction, reference, spacing):
        return sklearn.f1_score(reference.ravel(), prediction.ravel())


class TestIoU(MetricContract):
    best = 1.0
    at_empty = MISSED

    def measure(self, prediction, reference, spacing):
        return overlap(prediction, reference).iou

    def independent(self, prediction, reference, spacing):
        return sklearn.jaccard_score(reference.ravel(), prediction.ravel())


class TestPrecision(MetricContract):
    best = 1.0
    symmetric = False
    at_empty = MISSED | {"empty_prediction": math.nan}

    def measure(self, prediction, reference, spacing):
        return figure("precision", prediction, reference, spacing)

    def independent(self, prediction, reference, spacing):
        return sklearn.precision_score(reference.ravel(), prediction.ravel())


class TestAverageSurfaceDistance(MetricContract):
    """By the definition: the boundary of each mask, and for each of its voxels the nearest of the other's."""

    best = 0.0
    at_empty = LEFT_OUT

    def measure(self, prediction, reference, spacing):
        return figure("assd", prediction, reference, spacing)

    def independent(self, prediction, reference, spacing):
        flat = reference.shape[2] == 1
        masks = [mask[..., 0] if flat else mask for mask in (prediction, reference)]
        steps = spacing[:2] if flat else spacing
        edges = [mask & ~ndimage.binary_erosion(mask) for mask in masks]
        one, other = (np.argwhere(edge) * np.array(steps) for edge in edges)
        apart = np.linalg.norm(one[:, None] - other[None], axis=2)
        return float(np.mean([*apart.min(axis=1), *apart.min(axis=0)]))
