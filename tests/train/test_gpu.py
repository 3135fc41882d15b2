"""Training on a GPU: it learns, says what it measured, and repeats itself bit by bit where the plan wants that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline import plan, preprocess, train
from pipeline.core.files import read_json
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.inference.model_files import load_model
from pipeline.train import device as machine
from pipeline.train.engine import Engine
from tests.train.studies import chest_study, head_study

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]
SMALL: dict[str, Any] = {"batch": 4, "network": {"features": [8, 16, 32]}, "deterministic": True}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORGANSEG_TRACKING", "offline")


def prepared(made: tuple[Study, StudyPaths]) -> tuple[Study, StudyPaths]:
    plan.run(*made)
    preprocess.run(*made, "unet", threads=1)
    return made


def chest(root: Path, steps: int, **values: Any) -> tuple[Study, StudyPaths]:
    models = {"unet": {"plan": {**SMALL, "size": [32, 32], **values}}}
    return prepared(chest_study(root, 10, models=models, budget={"steps": steps}))


def weights(paths: StudyPaths) -> dict[str, torch.Tensor]:
    return load_model(paths.model("unet", 0))[0].state_dict()


def test_a_gpu_learns_and_says_memory_and_precision(tmp_path: Path) -> None:
    made = chest(tmp_path, 80, deterministic=False, augmentation={"preset": "none"})
    said: list[str] = []
    train.run(*made, "unet", 0, device="cuda", say=said.append)
    assert load_model(made[1].model("unet", 0))[2]["validation"]["dice"] > 0.8
    for precision in machine.precisions_of(torch.device("cuda")):
        assert any(line.startswith(f"{precision}: ") and line.endswith(" GiB") for line in said)


@pytest.mark.parametrize("kind", ["pictures", "volumes"])
def test_deterministic_trainings_are_equal(tmp_path: Path, kind: str) -> None:
    found = []
    for name in ("a", "b"):
        if kind == "pictures":
            made = chest(tmp_path / name, 5)
        else:
            models = {"unet": {"plan": SMALL}}
            made = prepared(head_study(tmp_path / name, 6, models=models, budget={"steps": 5}))
        train.run(*made, "unet", 0, device="cuda")
        found.append(weights(made[1]))
    # The trial of precisions may fall either way; with the same precision the bits are the same.
    settings = [
        read_json(next((tmp_path / name / "results").rglob("settings.json")))["precision"] for name in ("a", "b")
    ]
    assert settings[0] == settings[1]
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_stopped_and_resumed_a_deterministic_training_ends_in_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "precisions_of", lambda device: ("fp32",))
    whole, broken = chest(tmp_path / "a", 6), chest(tmp_path / "b", 6)
    train.run(*whole, "unet", 0, device="cuda")
    honest, taken = Engine.step, [0]

    def failing(self: Engine, step: int) -> float:
        taken[0] += 1
        # The trial's steps come first.
        if taken[0] > 4 and step == 3:
            raise OSError("the lights went out")
        return honest(self, step)

    monkeypatch.setattr("pipeline.train.loop.CHECKPOINT_EVERY", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(Engine, "step", failing)
        with pytest.raises(OSError, match="lights"):
            train.run(*broken, "unet", 0, device="cuda")
    train.run(*broken, "unet", 0, device="cuda")
    one, other = weights(whole[1]), weights(broken[1])
    assert all(torch.equal(one[name], other[name]) for name in one)
