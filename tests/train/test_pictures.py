"""Pictures of the same validation scans along a training: the same files each time, and no other weights."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline import plan, preprocess, train
from pipeline.core.journal import read_journal
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.train import read_task
from pipeline.train.data import load_scans
from pipeline.train.engine import Engine
from pipeline.train.figure import draw_scan
from tests.train.studies import chest_study, head_study

TINY = {"batch": 2, "network": {"features": [4, 8]}, "validate_every": 2}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORGANSEG_TRACKING", "offline")


def ready(made: tuple[Study, StudyPaths]) -> tuple[Study, StudyPaths]:
    plan.run(*made)
    preprocess.run(*made, "unet", threads=1)
    return made


def chest(root: Path, steps: int = 4) -> tuple[Study, StudyPaths]:
    return ready(chest_study(root, 20, models={"unet": {"plan": {**TINY, "size": [32, 32]}}}, budget={"steps": steps}))


def events_of(paths: StudyPaths) -> tuple[Path, list[dict[str, Any]]]:
    (journal,) = (paths.results / "checkpoints").glob("*/journal.jsonl")
    return journal.parent, list(read_journal(journal))


def pictures(paths: StudyPaths) -> dict[str, bytes]:
    folder, _ = events_of(paths)
    return {file.name: file.read_bytes() for file in sorted((folder / "pictures").iterdir())}


def test_the_same_few_scans_are_drawn_at_each_validation(tmp_path: Path) -> None:
    study, paths = chest(tmp_path)
    train.run(study, paths, "unet", 0, threads=1)
    folder, events = events_of(paths)
    drawn = [event for event in events if event["kind"] == "picture"]
    assert [event["step"] for event in drawn] == [2, 2, 2, 4, 4, 4]
    scans = [event["name"] for event in drawn]
    assert len(set(scans)) == 3
    assert scans[:3] == scans[3:]
    for event in drawn:
        with Image.open(folder / event["file"]) as image:
            assert max(image.size) < 512
            colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
        assert (colours == 255).all(axis=1).any(), "the reference's dashes are white"
    # Whoever finds a validation in the journal finds its pictures too.
    kinds = [event["kind"] for event in events if event["kind"] in ("picture", "validation")]
    assert kinds == ["picture"] * 3 + ["validation"] + ["picture"] * 3 + ["validation"]
    assert len(set(pictures(paths).values())) == 6


def test_pictures_change_no_weight_and_are_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, drawn = [], []
    for name in ("a", "b", "without"):
        study, paths = chest(tmp_path / name)
        with monkeypatch.context() as patch:
            if name == "without":
                patch.setattr("pipeline.train.loop.PICTURED", 0)
            train.run(study, paths, "unet", 0, threads=1)
        weights.append((paths.model("unet", 0) / "weights.safetensors").read_bytes())
        if name != "without":
            drawn.append(pictures(paths))
    assert weights[0] == weights[1] == weights[2]
    assert drawn[0] == drawn[1]


def test_a_resumed_training_ends_with_the_same_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, paths = chest(tmp_path / "whole")
    train.run(study, paths, "unet", 0, threads=1)
    study, broken = chest(tmp_path / "broken")
    honest = Engine.step

    def failing(self: Engine, step: int) -> float:
        if step == 3:
            raise OSError("the lights went out")
        return honest(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "step", failing)
        with pytest.raises(OSError, match="lights"):
            train.run(study, broken, "unet", 0, threads=1)
    train.run(study, broken, "unet", 0, threads=1)
    assert pictures(broken) == pictures(paths)


def test_volumes_are_shown_at_the_slice_with_most_of_the_reference(tmp_path: Path) -> None:
    models = {"unet": {"plan": {**TINY, "patch": [16, 16, 8]}}}
    _, paths = ready(head_study(tmp_path, 6, models=models))
    task = read_task(paths, "unet", 0)
    scan = load_scans(task.prepared, task.validation, task.plan, torch.device("cpu"))[0]
    reference = scan.label_map(task.plan)
    at = int((reference.data > 0).sum(axis=(0, 1)).argmax())
    colors = dict.fromkeys(task.plan.organs, "#00ff00")

    def drawn(places: Any) -> np.ndarray:
        data = np.zeros_like(reference.data)
        data[places] = 1
        found = LabelMap(data, reference.affine, reference.organs, reference.overlapping, reference.annotated)
        return np.asarray(Image.open(io.BytesIO(draw_scan(scan, found, task.plan, colors, "title"))))

    nothing = drawn(np.zeros(reference.data.shape, bool))
    elsewhere = drawn((slice(None), slice(None), at - 1))
    assert np.array_equal(nothing, elsewhere), "what was found elsewhere does not choose the slice"
    rows, columns = np.indices(nothing.shape[:2])
    # The corner of low x and low y is the patient's left and back: right and low in the picture.
    green = (drawn((slice(0, 10), slice(0, 10), at)) != nothing).any(axis=-1)
    assert green.any()
    assert columns[green].mean() > 0.6 * nothing.shape[1]
    assert rows[green].mean() > 0.6 * nothing.shape[0]
