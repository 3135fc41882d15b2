"""What is chosen, and what is not, from out-of-fold predictions that were made by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.core.files import write_table
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.formats.store import read_labels, write_labels
from pipeline.metrics.overlap import dice
from pipeline.quality.evidence import Evidence
from pipeline.select.choice import choose_models, choose_steps
from tests.predict.studies import ORGANS, make_study, phantom, write_study

#: Truth of a scan → probabilities of its two organs.
Spoil = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def oof(root: Path, study: Study, spoil: dict[str, Spoil], patients: int = 14) -> StudyPaths:
    """Out-of-fold predictions of overlapping organs in pictures."""
    paths = write_study(root, study, patients=patients, flat=True)
    for model, spoiled in spoil.items():
        rows = []
        for number in range(0, patients - 2, 2):
            scan, masks = phantom(number, True)
            truth = np.stack([masks[organ] for organ in ORGANS]).astype(np.float32)
            p = np.clip(spoiled(truth, np.random.default_rng(number)), 0, 1)
            found = {organ: p[i] >= 0.5 for i, organ in enumerate(ORGANS)}
            labels = LabelMap.from_masks(found, scan.affine, ORGANS, overlapping=True)
            out = paths.predictions("oof", model)
            write_labels(out / f"s{number}.nii.gz", labels)
            (out / "probabilities").mkdir(exist_ok=True)
            np.savez_compressed(
                out / "probabilities" / f"s{number}.npz", probabilities=np.rint(p * 255).astype(np.uint8)
            )
            rows.append({"scan_id": f"s{number}", "status": "ok"})
        write_table(paths.predictions("oof", model) / "predictions.csv", rows, ("scan_id", "status"))
    return paths


def study_with(*models: str, **changes: object) -> Study:
    return make_study(modality="xray", overlapping=True, models={m: {} for m in models}, **changes)


def fine(truth: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return truth * 0.9 + 0.05


def noisy(share: float) -> Spoil:
    def spoil(truth: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return np.where(generator.uniform(size=truth.shape) < share, 1 - truth, truth) * 0.6 + 0.2

    return spoil


def speckled(truth: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    p = truth.copy()
    p[0, 1:4, 1:4] = 1
    p[0, -3:, -3:] = 1
    return p * 0.9


def test_the_better_model_wins(tmp_path: Path) -> None:
    study = study_with("poor", "good")
    evidence = Evidence(study, oof(tmp_path, study, {"poor": noisy(0.05), "good": fine}))
    chosen, rows = choose_models(study, evidence, lambda line: None)
    assert chosen == ["good"]
    assert [row["chosen"] for row in rows] == [False, True, False]
    assert rows[1]["dice"] == 1.0
    assert rows[0]["against_best"]["high"] < 0


def test_an_ensemble_that_helps_is_taken(tmp_path: Path) -> None:
    study = study_with("a", "b", "c")
    spoil: dict[str, Spoil] = {}
    for seed, name in enumerate("abc"):
        # Errors at different voxels: the mean of three is better than any one.
        spoil[name] = lambda truth, _, seed=seed: noisy(0.04)(truth, np.random.default_rng(seed))
    evidence = Evidence(study, oof(tmp_path, study, spoil))
    chosen, rows = choose_models(study, evidence, lambda line: None)
    assert chosen == ["a", "b", "c"]
    assert rows[-1]["against_best"]["low"] > 0
    alone = study_with("a", "b", "c", select={"ensembles": False})
    assert len(choose_models(alone, evidence, lambda line: None)[0]) == 1


def test_only_steps_that_help_stay(tmp_path: Path) -> None:
    study = study_with("one")
    evidence = Evidence(study, oof(tmp_path, study, {"one": speckled}))
    steps, rows = choose_steps(study, evidence, ["one"], lambda line: None)
    assert set(steps) == {"left"}
    assert steps["left"].largest_component
    assert not steps["left"].fill_holes
    kept = [(row["organ"], row["step"]) for row in rows if row["kept"]]
    assert kept == [("left", "largest_component")]
    assert all(row["low"] is not None and row["low"] <= 0 for row in rows if not row["kept"])
    none = study_with("one", select={"postprocessing": False})
    assert "largest_component" not in {row["step"] for row in choose_steps(none, evidence, ["one"], print)[1]}


def test_what_removes_made_up_organs_stays(tmp_path: Path) -> None:
    """The reader never has the right organ, and the model makes a little of it up: no Dice is gained."""

    def dreamy(truth: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        p = truth.copy()
        p[1] = 0
        p[1, 3:5, 3:5] = 0.55
        return p

    study = study_with("one")
    paths = oof(tmp_path, study, {"one": dreamy})
    for scan in Evidence(study, paths).scans:
        path = paths.mask(scan.shard, scan.scan_id)
        labels = read_labels(path)
        masks = {"left": labels.mask("left"), "right": labels.mask("left") & False}
        write_labels(path, LabelMap.from_masks(masks, labels.affine, ORGANS, overlapping=True))
    evidence = Evidence(study, paths)
    _, candidates = choose_models(study, evidence, lambda line: None)
    assert (candidates[0]["dice"], candidates[0]["dice_present"], candidates[0]["false_alarm"]) == (0.5, 1.0, 1.0)
    steps, rows = choose_steps(study, evidence, ["one"], lambda line: None)
    assert set(steps) == {"right"}
    assert next(row for row in rows if row["kept"])["difference"] == 1.0


def test_an_organ_that_nobody_looked_for_has_no_figures(tmp_path: Path) -> None:
    study = study_with("one")
    paths = oof(tmp_path, study, {"one": fine})
    for scan in Evidence(study, paths).scans:
        path = paths.mask(scan.shard, scan.scan_id)
        labels = read_labels(path)
        write_labels(path, replace(labels, annotated=frozenset({"left"})))
    _, rows = choose_steps(study, Evidence(study, paths), ["one"], lambda line: None)
    assert {row["organ"] for row in rows} == {"left"}


def test_a_threshold_that_helps_stays(tmp_path: Path) -> None:
    """The right organ's probabilities are low throughout."""

    def timid(truth: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return truth * np.array([0.9, 0.44])[:, None, None, None]

    study = study_with("one")
    evidence = Evidence(study, oof(tmp_path, study, {"one": timid}))
    steps, _ = choose_steps(study, evidence, ["one"], lambda line: None)
    assert set(steps) == {"right"}
    assert steps["right"].threshold is not None
    assert steps["right"].threshold < 0.45
    scan = evidence.scans[0]
    labels = evidence.chosen(scan, ["one"], {"right": steps["right"].threshold})
    assert dice(labels.mask("right"), evidence.reference(scan).mask("right")) == 1


def test_one_patient_proves_nothing(tmp_path: Path) -> None:
    study = study_with("one")
    evidence = Evidence(study, oof(tmp_path, study, {"one": speckled}, patients=4))
    assert evidence.patients == 1
    assert choose_steps(study, evidence, ["one"], lambda line: None)[0] == {}


def test_no_shared_scan_is_an_error(tmp_path: Path) -> None:
    study = study_with("one", "two")
    paths = oof(tmp_path, study, {"one": fine, "two": fine})
    write_table(paths.predictions("oof", "two") / "predictions.csv", [], ("scan_id", "status"))
    with pytest.raises(InputError, match="no labelled scan"):
        Evidence(study, paths)
