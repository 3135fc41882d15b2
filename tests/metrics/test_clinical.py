"""The cardiothoracic ratio, against drawings and against hand-measured radiographs."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.labels import LabelMap
from pipeline.core.scan import FRONTAL_AFFINE
from pipeline.metrics.clinical import agreement, cardiothoracic_ratio

ORGANS = ("left_lung", "right_lung", "heart")


def chest(**masks: np.ndarray) -> LabelMap:
    return LabelMap.from_masks(masks, FRONTAL_AFFINE, ORGANS, overlapping=True)


def box(x: tuple[int, int], y: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((50, 40, 1), bool)
    mask[slice(*x), slice(*y)] = True
    return mask


def test_ratio_of_a_drawing() -> None:
    right, left, heart = box((5, 20), (5, 35)), box((30, 45), (5, 35)), box((18, 34), (20, 34))
    assert cardiothoracic_ratio(chest(left_lung=left, right_lung=right, heart=heart)) == pytest.approx(16 / 40)


def test_ratio_is_undefined_without_its_organs() -> None:
    right, left, heart = box((5, 20), (5, 35)), box((30, 45), (5, 35)), box((18, 34), (20, 34))
    assert math.isnan(cardiothoracic_ratio(chest(left_lung=left, heart=heart)))
    assert math.isnan(cardiothoracic_ratio(chest(left_lung=left, right_lung=right & False, heart=heart)))


def test_agreement_leaves_out_what_is_undefined() -> None:
    result = agreement(np.array([0.5, 0.6, 0.4, np.nan]), np.array([0.4, 0.6, 0.5, 0.5]))
    assert (result["n_scans"], result["bias"]) == (3, pytest.approx(0))
    assert result["mean_absolute_error"] == pytest.approx(0.2 / 3)
    assert agreement(np.array([]), np.array([]))["n_scans"] == 0
    assert math.isnan(agreement(np.ones(4), np.arange(4.0))["correlation"])


def test_reference_masks_give_the_hand_measured_ratios() -> None:
    root = Path(os.environ.get("ORGANSEG_DATA", "data")) / "xray_wingspan"
    table = root / "ctr_ground_truth.public.csv"
    if not table.is_file():
        pytest.skip("no xray_wingspan under ORGANSEG_DATA")
    image = pytest.importorskip("PIL.Image")
    measured, by_hand = [], []
    with open(table, newline="", encoding="utf-8") as handle:
        for row in list(csv.DictReader(handle))[:40]:
            files = {organ: root / "masks_raw" / organ / f"{row['case']}.png" for organ in ORGANS}
            if all(file.is_file() for file in files.values()):
                masks = {o: (np.asarray(image.open(f).convert("L")) > 127).T[..., None] for o, f in files.items()}
                measured.append(cardiothoracic_ratio(chest(**masks)))
                by_hand.append(float(row["ctr"]))
    result = agreement(np.array(measured), np.array(by_hand))
    assert result["n_scans"] >= 20
    assert result["mean_absolute_error"] < 0.005
    assert result["correlation"] > 0.999
