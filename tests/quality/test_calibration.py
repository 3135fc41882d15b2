"""Quality verdicts: few false alarms on good scans, and none of the gross errors passes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.core.files import write_table
from pipeline.core.labels import LabelMap
from pipeline.core.scan import FRONTAL_AFFINE, Scan
from pipeline.core.study import Study
from pipeline.inference.agreement import AGREEMENT
from pipeline.quality.calibration import (
    FIRST_ALARM,
    Judged,
    Known,
    _alarms,
    _compare_with_others,
    _held_out,
    _reference,
    _risks,
    calibrate,
    choose_alarm,
    expected_interval,
)
from pipeline.quality.evidence import Evidence
from pipeline.quality.judge import (
    FAIL,
    LOOK,
    Judge,
    Verdict,
    coarse_picture,
    excess,
    open_judge,
    organ_figures,
    scan_figures,
)
from pipeline.quality.performance import performance, performance_text
from pipeline.quality.reference import Interval, QualityReference, predicted_dice
from tests.predict.studies import ORGANS, make_study, phantom
from tests.select.test_choice import fine, noisy, oof, study_with

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
        f"s{number}", f"p{number}", coarse, scan_figures(scan, coarse, coarse), figures, frozenset(ORGANS),
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
    assert np.mean([one.odd > LOOK for one in outcomes]) <= 0.1


def with_dice(development: list[Known], noise: float) -> list[Known]:
    """Predictions whose Dice follows their certainty; a third of the scans is below 0.8."""
    generator = np.random.default_rng(1)
    judged = []
    for one in development:
        sure = float(generator.uniform(0.75, 0.99))
        found = float(np.clip(sure - 0.03 + generator.normal(0, noise), 0, 1))
        judged.append(replace(one, certainty=dict.fromkeys(ORGANS, sure), dice=dict.fromkeys(ORGANS, found)))
    return judged


def calibrated(known: list[Known], limit: float) -> dict[str, Any]:
    outcomes = _held_out(known, STUDY, 1.0, limit)
    return performance(_risks(outcomes, _reference(known, STUDY, 1.0, limit)))


def test_bad_predictions_are_found_where_the_figures_tell(development: list[Known]) -> None:
    found = calibrated(with_dice(development, 0.01), 0.85)
    assert found["bad"] > 10 < found["good"]
    assert found["sensitivity"] >= 0.5
    assert found["specificity"] >= 0.85
    assert found["auroc"] > 0.9


def test_where_the_figures_tell_nothing_alarms_stay_rare(development: list[Known]) -> None:
    found = calibrated(with_dice(development, 0.3), 0.85)
    assert found["specificity"] >= 0.75


def test_alarms_ring_seldom() -> None:
    outcomes = [Judged(f"s{n}", n % 5, n >= 80, 0.0, (n - 72) / 10) for n in range(100)]
    alarm = choose_alarm(outcomes)
    assert alarm is not None
    assert 0.04 < np.mean([one.short > alarm for one in outcomes if not one.bad and one.short is not None]) <= 0.08
    assert np.mean([one.short > alarm for one in outcomes if one.bad and one.short is not None]) == 1
    # However few are bad, no alarm rings for what lies far above the limit.
    fine = [replace(one, bad=False, short=-4.0) for one in outcomes]
    assert choose_alarm(fine) == FIRST_ALARM
    assert choose_alarm([replace(one, short=None) for one in outcomes]) is None
    # Scans count, not only organs: two organs of a scan that ring at different times are two false scans in three.
    pair = [Judged(f"s{n // 2}", 0, False, 0.0, 5.0 if n in {0, 3} else -5.0) for n in range(6)]
    assert choose_alarm(pair) == 5.0


def test_good_scans_count_once() -> None:
    outcomes = [Judged("a", 0, False, 2.0, None), Judged("a", 0, True, 2.0, None), Judged("b", 0, False, 0.0, None)]
    assert _alarms(outcomes, [True, True, False]) == 0.5
    assert _alarms(outcomes[:2], [False, True]) == 0.0
    assert _alarms([], []) == 0.0


def test_performance() -> None:
    found = performance([(True, 3.0), (True, 0.5), (False, 0.2), (False, 0.5), (False, 1.5)])
    assert found == {"bad": 2, "good": 3, "sensitivity": 0.5, "specificity": 0.6667, "auroc": 0.75}
    assert performance([(False, 0.1)])["auroc"] is None


def test_performance_in_words() -> None:
    some = performance([(True, 3.0), (True, 0.5), (False, 0.2), (False, 0.5), (False, 1.5)])
    assert performance_text({"dice_limit": 0.9, **some}) == (
        "quality verdicts, out of fold: 2 of 5 organs below Dice 0.9, 50% of these found, 33% false alarms, AUROC 0.75"
    )
    for outcomes in ([(False, 0.1)], [(True, 0.1)], []):
        said = performance_text({"dice_limit": 0.9, **performance(outcomes)})
        assert "None" not in said
        assert "nan" not in said
    assert "not known" in performance_text({"dice_limit": 0.9, **performance([(False, 0.1)])})


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


def test_skewed_figures_have_skewed_intervals() -> None:
    values = list(np.random.default_rng(0).exponential(1.0, 200))
    interval = expected_interval(values, 200)
    assert interval.below is not None
    assert interval.below < 0.5 * interval.half
    assert excess("log_size", interval.middle - interval.below, interval) == pytest.approx(1)
    assert excess("log_size", interval.middle + interval.half, interval) == pytest.approx(1)


def test_predicted_dice(development: list[Known]) -> None:
    judged = with_dice(development, 0.01)
    fit = _reference(judged, STUDY, 1.0, 0.7).organs["left"].dice
    assert fit is not None
    usual = {name: mean for name, (mean, _, _) in fit.figures.items()}
    truth = [one.dice["left"] for one in judged if one.dice]
    assert predicted_dice(fit, usual)[0] == pytest.approx(np.mean(truth), abs=1e-9)
    for sure in (0.8, 0.9, 0.98):
        least, middle, most = (predicted_dice(fit, usual | {"certainty": sure})[i] for i in (1, 0, 2))
        assert least < middle < most
        assert middle == pytest.approx(sure - 0.03, abs=0.03)
    assert predicted_dice(fit, usual | {"certainty": -50.0})[0] >= 0
    few = _reference(judged[:10], STUDY, 1.0, 0.7)
    assert few.organs["left"].dice is None


def test_a_low_predicted_dice_is_told(development: list[Known]) -> None:
    judged = with_dice(development, 0.01)
    reference = _reference(judged, STUDY, 1.0, 0.85).model_copy(update={"alarm": 0.0, "mirror_pairs": PAIRS})
    one = known_scan(3)[2]
    verdict = Judge(reference).of_organ("left", one.scan, one.truth["left"], 0.76)
    assert verdict.verdict != "good"
    assert any(reason.startswith("its predicted Dice is 0.7") for reason in verdict.reasons)
    assert Judge(reference).of_organ("left", one.scan, one.truth["left"], 0.97).verdict == "good"
    assert verdict.dice_text.startswith("0.7")


def test_networks_that_disagree_are_told(development: list[Known]) -> None:
    judge = Judge(_reference(development, make_study(split={"folds": 3}), 1.0, 0.8))
    one = development[0]
    assert judge.of_organ("left", one.scan, one.truth["left"], 0.97, {"folds": 0.95}).verdict == "good"
    told = judge.of_organ("left", one.scan, one.truth["left"], 0.97, {"folds": 0.6})
    assert told.verdict == "fail"
    assert told.reasons[0] == "the networks disagree more than good predictions and the reader do"


def with_passes(development: list[Known], tells: bool) -> list[Known]:
    """Predictions with an agreement of passes that their Dice follows, or that says nothing of it."""
    generator = np.random.default_rng(2)
    judged = []
    for one in development:
        found, other = generator.uniform(0.6, 0.97, 2)
        passes = dict.fromkeys(ORGANS, float(found if tells else other) + generator.normal(0, 0.005))
        judged.append(replace(one, dice=dict.fromkeys(ORGANS, float(found)), agreement={"passes": passes}))
    return judged


def test_the_agreement_of_passes_predicts_dice_where_it_tells(development: list[Known]) -> None:
    told, untold = (calibrated(with_passes(development, tells), 0.75) for tells in (True, False))
    assert told["auroc"] > 0.9
    assert told["sensitivity"] > 0.5
    assert untold["auroc"] < 0.75
    fit = _reference(with_passes(development, True), STUDY, 1.0, 0.75).organs["left"].dice
    assert fit is not None
    assert fit.figures["passes"][2] > 3 * abs(fit.figures["likeness"][2])


def test_passes_that_disagree_are_told(development: list[Known]) -> None:
    known = [replace(one, agreement={"passes": dict.fromkeys(ORGANS, 0.95)}) for one in development]
    judge = Judge(_reference(known, STUDY, 1.0, 0.8))
    one = development[0]

    def verdict(agreement: dict[str, float], mask: dict[str, float] | None = one.truth["left"]) -> Verdict:
        return judge.of_organ("left", one.scan, mask, 0.97, agreement)

    assert verdict({"passes": 0.95}).verdict == "good"
    told = verdict({"passes": 0.6})
    assert told.verdict == "fail"
    assert told.reasons[0] == "the scan and its mirror image give different outlines"
    # Where nothing was found there is no outline to disagree on.
    assert verdict({"passes": 0.0}, None).reasons == ("nothing was found",)
    # Without the figure that Dice is predicted from, none is predicted, and a person is told.
    assert judge.reference.organs["left"].dice is not None
    without = verdict({})
    assert (without.verdict, without.dice) == ("look", None)
    assert "cannot be predicted" in without.reasons[0]


def test_what_is_not_known_out_of_fold_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Agreement of passes and models is that of good out-of-fold predictions; that of folds rests on the reader."""
    study = study_with("one", "other", split={"folds": 3})
    paths = oof(tmp_path, study, {"one": fine, "other": noisy(0.02)}, patients=14)
    for model, dice in (("one", 0.98), ("other", 0.9)):
        rows = [
            {"scan_id": f"s{number}", "organ": organ, "between": "passes", "dice": dice + number / 1000}
            for number in range(0, 12, 2)
            for organ in ORGANS
        ]
        write_table(paths.predictions("oof", model) / AGREEMENT, rows, ("scan_id", "organ", "between", "dice"))
    evidence = Evidence(study, paths)
    both = evidence.agreement(evidence.scans[1], ["one", "other"])
    assert both["passes"] == pytest.approx(dict.fromkeys(ORGANS, 0.942))
    assert set(both) == {"passes", "models"}
    assert 0.3 < both["models"]["left"] < 1
    assert evidence.agreement(evidence.scans[1], ["one"]) == {"passes": pytest.approx(dict.fromkeys(ORGANS, 0.982))}
    reference, _ = calibrate(study, paths, evidence, ["one", "other"], {})
    left = reference.organs["left"].intervals
    assert {"passes", "models", "folds"} <= set(left)
    # Six patients say little of the next: outlines may differ by what the study lets pass.
    least = {who: left[who].middle - left[who].half for who in ("passes", "models")}
    assert least == pytest.approx(dict.fromkeys(least, study.evaluate.dice_limit))
    assert "fewer than 16 patients" in reference.figures["rests_on"]["passes"]
    monkeypatch.setattr("pipeline.quality.calibration.ENOUGH", 6)
    reference, _ = calibrate(study, paths, evidence, ["one", "other"], {})
    assert reference.organs["left"].intervals["passes"].middle == pytest.approx(0.945)
    rests = reference.figures["rests_on"]
    assert "out-of-fold" in rests["passes"]
    assert "out-of-fold" in rests["models"]
    assert "reader" in rests["folds"]


def test_without_passes_there_is_no_limit_for_them(tmp_path: Path) -> None:
    study = study_with("one")
    reference, _ = calibrate(study, paths := oof(tmp_path, study, {"one": fine}), Evidence(study, paths), ["one"], {})
    assert not {"passes", "models", "folds"} & set(reference.organs["left"].intervals)
    assert reference.figures["rests_on"] == {"passes": "not judged, as no window was mirrored out of fold"}


def real_known(folder: Path, count: int) -> list[tuple[Scan, LabelMap, Known]]:
    """Radiographs of the Wingspan set with their readers' masks, as if a network had found these."""
    organs = ("left_lung", "right_lung", "heart")
    items = []
    for path in sorted((folder / "images").glob("WS*.png"))[:count]:
        if not all((folder / "masks_raw" / organ / path.name).exists() for organ in organs) or path.stem == "WS0054":
            continue
        pixels = np.asarray(Image.open(path).convert("L"))
        scan = Scan(pixels.T[None, :, :, None].copy(), FRONTAL_AFFINE, "xray", "unknown")
        masks = {o: np.asarray(Image.open(folder / "masks_raw" / o / path.name).convert("L")) > 127 for o in organs}
        shown = {organ: mask.T[..., None] for organ, mask in masks.items()}
        labels = LabelMap.from_masks(shown, FRONTAL_AFFINE, organs, overlapping=True)
        coarse, figures = coarse_picture(scan), organ_figures(labels, "px", [organs[:2]])
        one = Known(
            path.stem, path.stem, coarse, scan_figures(scan, coarse, coarse), figures, frozenset(organs),
            found=figures, certainty=dict.fromkeys(organs, 0.97), dice=dict.fromkeys(organs, 0.95),
        )  # fmt: skip
        items.append((scan, labels, one))
    return items


def test_real_radiographs_that_are_wrong_are_found(real_data: Path) -> None:
    """Rotated, inverted, cut and mirrored radiographs with the very masks of their readers; few good ones are."""
    items = real_known(real_data / "xray_wingspan", 100)
    organs = {"left_lung": {"mirror": "right_lung"}, "right_lung": {"mirror": "left_lung"}, "heart": {}}
    study = Study.model_validate({"modality": "xray", "overlapping": True, "organs": organs})
    known = [one for _, _, one in items[:65]]
    _compare_with_others(known)
    reference = _reference(known, study, 1.0, 0.8)
    judge = Judge(reference.model_copy(update={"mirror_pairs": study.mirror_pairs()}))

    def found(turn: Any, invert: bool = False) -> float:
        risks = []
        for scan, labels, _ in items[65:]:
            turned_scan, turned_labels = turned(scan, labels, turn)
            if invert:
                turned_scan = replace(turned_scan, voxels=255 - turned_scan.voxels)
            certainty = dict.fromkeys(organs, 0.97)
            prediction: Any = SimpleNamespace(labels=turned_labels, certainty=certainty, agreement={})
            risks.append(max(verdict.risk for verdict in judge(turned_scan, prediction).values()))
        return float(np.mean(np.array(risks) > LOOK))

    assert found(lambda a: a) <= 0.1
    assert found(lambda a: a, invert=True) == 1
    assert found(lambda a: np.rot90(a, 1, (0, 1))) == 1
    assert found(lambda a: np.rot90(a, 2, (0, 1))) == 1
    assert found(lambda a: a[: a.shape[0] // 2]) == 1
    assert found(lambda a: a[a.shape[0] // 4 :]) == 1
    assert found(lambda a: a[::-1]) >= 0.97


def test_a_volume_is_no_picture(judge: Judge) -> None:
    scan = Scan(np.zeros((1, 8, 8, 8), np.float32), np.eye(4), "mri")
    labels = LabelMap(np.zeros((8, 8, 8), np.uint8), np.eye(4), ORGANS, True, frozenset(ORGANS))
    assert worst(judge, scan, labels) > 1, "nobody measured a model of pictures on volumes: a person looks"
    flat = Scan(np.zeros((1, 8, 8, 1), np.float32), FRONTAL_AFFINE, "xray")
    assert np.isfinite(worst(judge, flat, replace(labels, data=labels.data[..., :1])))
