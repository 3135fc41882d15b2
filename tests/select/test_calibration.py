"""Quality verdicts: few false alarms on good scans, and none of the gross errors passes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.core.labels import LabelMap
from pipeline.core.scan import FRONTAL_AFFINE, Scan
from pipeline.core.study import Study
from pipeline.mechanics.quality import (
    FAIL,
    LOOK,
    Interval,
    Judge,
    QualityReference,
    coarse_picture,
    excess,
    open_judge,
    organ_figures,
    predicted_dice,
    scan_figures,
)
from pipeline.select.calibration import (
    Known,
    _compare_with_others,
    _held_out,
    _reference,
    calibrate,
    expected_interval,
    performance,
)
from pipeline.select.evidence import Evidence
from tests.predict.studies import ORGANS, make_study, phantom
from tests.select.test_choice import fine, oof, study_with

PAIRS = [("left", "right")]
STUDY = make_study(modality="xray", overlapping=True)


def known_scan(number: int) -> tuple[Scan, LabelMap, Known]:
    scan, masks = phantom(number, True)
    # A gradient from top to bottom, so that a scan has an upper and a lower end.
    voxels = scan.voxels + np.linspace(0, 60, scan.shape[1], dtype=np.float32)[None, None, :, None]
    scan = replace(scan, voxels=voxels)
    labels = LabelMap.from_masks(masks, scan.affine, ORGANS, overlapping=True)
    figures = organ_figures(labels, "mm", PAIRS)
    coarse = coarse_picture(scan)
    dice = dict.fromkeys(ORGANS, 0.95)
    one = Known(
        f"s{number}", f"p{number}", coarse, scan_figures(scan, coarse), figures, frozenset(ORGANS),
        found=figures, certainty={"left": 0.97, "right": 0.96}, dice=dice,
    )  # fmt: skip
    return scan, labels, one


@pytest.fixture(scope="module")
def development() -> list[Known]:
    known = [known_scan(number)[2] for number in range(30)]
    _compare_with_others(known)
    return known


@pytest.fixture(scope="module")
def judge(development: list[Known]) -> Judge:
    return Judge(_reference(development, STUDY, 1.0, 0.8).model_copy(update={"mirror_pairs": PAIRS}))


def worst(judge: Judge, scan: Scan, labels: LabelMap, certainty: float = 0.965) -> float:
    prediction: Any = SimpleNamespace(labels=labels, certainty=dict.fromkeys(ORGANS, certainty), agreement={})
    return max(verdict.risk for verdict in judge(scan, prediction).values())


def turned(scan: Scan, labels: LabelMap, turn: Any) -> tuple[Scan, LabelMap]:
    voxels = np.ascontiguousarray(turn(scan.voxels[0]))[None]
    return replace(scan, voxels=voxels, stored=None), replace(labels, data=np.ascontiguousarray(turn(labels.data)))


def test_good_scans_raise_few_alarms(judge: Judge) -> None:
    alarms = [worst(judge, *known_scan(number)[:2]) > LOOK for number in range(100, 130)]
    assert np.mean(alarms) <= 0.1


@pytest.mark.parametrize(
    "turn",
    [
        lambda a: np.rot90(a, 1, (0, 1)),
        lambda a: a[::-1, ::-1],
        lambda a: a[::-1],
        lambda a: a[: a.shape[0] // 2],
        lambda a: a[:, : a.shape[1] // 2],
    ],
    ids=["rotated", "upside down", "mirrored", "one half", "cut off below"],
)
def test_gross_errors_are_found(judge: Judge, turn: Any) -> None:
    risks = [worst(judge, *turned(*known_scan(number)[:2], turn)) for number in range(200, 210)]
    assert min(risks) > LOOK


def test_inverted_scans_are_found(judge: Judge) -> None:
    for number in range(200, 210):
        scan, labels, _ = known_scan(number)
        assert worst(judge, replace(scan, voxels=-scan.voxels), labels) > LOOK


def test_nothing_found_and_unsure_outlines(judge: Judge) -> None:
    scan, labels, _ = known_scan(300)
    empty = replace(labels, data=np.zeros_like(labels.data))
    prediction: Any = SimpleNamespace(labels=empty, certainty=dict.fromkeys(ORGANS, 1.0), agreement={})
    verdicts = judge(scan, prediction)
    assert {v.verdict for v in verdicts.values()} == {"fail"}
    assert verdicts["left"].reasons[0] == "nothing was found"
    assert worst(judge, scan, labels, certainty=0.5) > FAIL


def test_swapped_organs_are_found(judge: Judge) -> None:
    scan, labels, _ = known_scan(301)
    swapped = np.where(labels.data == 1, 2, np.where(labels.data == 2, 1, labels.data)).astype(labels.data.dtype)
    assert worst(judge, scan, replace(labels, data=swapped)) > LOOK


def test_calibration_from_a_study(tmp_path: Path) -> None:
    study: Study = study_with("one")
    paths = oof(tmp_path, study, {"one": fine}, patients=14)
    reference, scores = calibrate(study, paths, Evidence(study, paths), ["one"], {})
    assert set(reference.organs) == set(ORGANS)
    assert reference.figures["good"] == 2 * len(scores) == 12
    assert reference.figures["bad"] == 0
    assert reference.figures["sensitivity"] is None
    assert reference.figures["specificity"] >= 0.9
    assert all(dice == 1 for _, dice in scores)
    (tmp_path / "quality.json").write_text(reference.model_dump_json())
    judge = open_judge(tmp_path)
    assert judge is not None
    assert QualityReference.model_validate_json(judge.reference.model_dump_json()) == reference
    assert open_judge(tmp_path / "absent") is None


def test_held_out_patients_do_not_judge_themselves(development: list[Known]) -> None:
    outcomes = _held_out(development, STUDY, 1.0, 0.8)
    assert len(outcomes) == 2 * len(development)
    assert np.mean([risk > LOOK for _, risk in outcomes]) <= 0.1


def test_performance() -> None:
    found = performance([(True, 3.0), (True, 0.5), (False, 0.2), (False, 0.5), (False, 1.5)])
    assert found == {"bad": 2, "good": 3, "sensitivity": 0.5, "specificity": 0.6667, "auroc": 0.75}
    assert performance([(False, 0.1)])["auroc"] is None


def test_intervals() -> None:
    generator = np.random.default_rng(0)
    misses = 0
    for _ in range(200):
        values = generator.normal(10, 2, 6)
        interval = expected_interval(list(values[:5]), 5)
        misses += abs(values[5] - interval.middle) > interval.half
    assert misses <= 5
    assert expected_interval([3.0], 1) == Interval(middle=3.0, half=0.0)
    assert excess("border", 0.0, Interval(middle=0.5, half=0.1)) == 0
    assert excess("log_size", 1.0, Interval(middle=1.5, half=0.25)) == 2


def test_predicted_dice(development: list[Known]) -> None:
    generator = np.random.default_rng(1)
    judged = []
    for one in development:
        sure = float(generator.uniform(0.8, 0.99))
        found = float(np.clip(sure - 0.03 + generator.normal(0, 0.01), 0, 1))
        judged.append(replace(one, certainty=dict.fromkeys(ORGANS, sure), dice=dict.fromkeys(ORGANS, found)))
    reference = _reference(judged, STUDY, 1.0, 0.7)
    answer = predicted_dice(reference.organs["left"], 0.9)
    assert answer is not None
    assert answer[0] == pytest.approx(0.87, abs=0.01)
    assert answer[1] < answer[0] < answer[2]
    few = _reference(judged[:10], STUDY, 1.0, 0.7)
    assert predicted_dice(few.organs["left"], 0.9) is None


def test_a_volume_is_no_picture(judge: Judge) -> None:
    scan = Scan(np.zeros((1, 8, 8, 8), np.float32), np.eye(4), "mri")
    labels = LabelMap(np.zeros((8, 8, 8), np.uint8), np.eye(4), ORGANS, True, frozenset(ORGANS))
    with pytest.raises(ValueError, match="kind"):
        worst(judge, scan, labels)
    flat = Scan(np.zeros((1, 8, 8, 1), np.float32), FRONTAL_AFFINE, "xray")
    assert np.isfinite(worst(judge, flat, replace(labels, data=labels.data[..., :1])))
