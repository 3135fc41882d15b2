"""A training stopped at any moment and resumed ends with the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pipeline import plan, preprocess, train
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.inference.model_files import load_tensors
from pipeline.train.checkpoint import read_checkpoint
from pipeline.train.engine import Engine
from tests.train.studies import chest_study

TINY = {
    "size": [32, 32],
    "batch": 2,
    "network": {"features": [4, 8], "dropout": 0.1},
    "validate_every": 3,
}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORGANSEG_TRACKING", "offline")


def ready(root: Path, steps: int = 8) -> tuple[Study, StudyPaths]:
    study, paths = chest_study(root, 6, models={"unet": {"plan": TINY}}, budget={"steps": steps})
    plan.run(study, paths)
    preprocess.run(study, paths, "unet", threads=1)
    return study, paths


def weights(paths: StudyPaths) -> dict[str, torch.Tensor]:
    return load_tensors(paths.model("unet", 0) / "weights.safetensors")[0]


def outputs(paths: StudyPaths) -> dict[str, bytes]:
    folder = paths.model("unet", 0)
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.name != "journal.jsonl"}


def test_same_inputs_give_the_same_files(tmp_path: Path) -> None:
    results = []
    for name in ("a", "b"):
        study, paths = ready(tmp_path / name, steps=3)
        train.run(study, paths, "unet", 0, threads=1)
        results.append(outputs(paths))
    assert results[0] == results[1]
    assert sorted(results[0]) == ["augmented.png", "history.csv", "model.json", "weights.safetensors"]


@pytest.mark.parametrize("when", [1, 3, 5])
def test_an_error_at_any_step_leaves_the_same_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: int) -> None:
    study, paths = ready(tmp_path / "whole")
    train.run(study, paths, "unet", 0, threads=1)
    other_study, other = ready(tmp_path / "broken")
    honest = Engine.step

    def failing(self: Engine, step: int) -> float:
        if step == when:
            raise OSError("the lights went out")
        return honest(self, step)

    monkeypatch.setattr("pipeline.train.loop.CHECKPOINT_EVERY", 0.0)
    with monkeypatch.context() as broken:
        broken.setattr(Engine, "step", failing)
        with pytest.raises(OSError, match="lights"):
            train.run(other_study, other, "unet", 0, threads=1)
    said: list[str] = []
    train.run(other_study, other, "unet", 0, threads=1, say=said.append)
    assert any(f"step {when} of 8" in line for line in said)
    assert outputs(paths) == outputs(other)


def test_removed_outputs_come_back_without_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, paths = ready(tmp_path, steps=3)
    train.run(study, paths, "unet", 0, threads=1)
    before = outputs(paths)
    for file in paths.model("unet", 0).iterdir():
        file.unlink()
    monkeypatch.setattr(Engine, "step", lambda self, step: pytest.fail("trained again"))
    train.run(study, paths, "unet", 0, threads=1)
    assert outputs(paths) == before


def test_another_seed_gives_other_weights_in_another_folder(tmp_path: Path) -> None:
    study, paths = ready(tmp_path, steps=2)
    train.run(study, paths, "unet", 0, threads=1)
    first = weights(paths)
    study, paths = chest_study(tmp_path, 6, models={"unet": {"plan": TINY}}, budget={"steps": 2}, seed=1)
    plan.run(study, paths)
    train.run(study, paths, "unet", 0, threads=1)
    assert len(list((paths.results / "checkpoints").iterdir())) == 2
    assert any(not torch.equal(first[name], value) for name, value in weights(paths).items())


SCRIPT = """
import sys
from pathlib import Path
from pipeline import train
from pipeline.core.paths import StudyPaths
from tests.train.studies import chest_config
from tests.train.test_resume import TINY
import pipeline.train.loop as loop
loop.CHECKPOINT_EVERY = 0.0
study = chest_config(models={"unet": {"plan": TINY}}, budget={"steps": 60})
train.run(study, StudyPaths("chest", Path(sys.argv[1])), "unet", 0, threads=1,
          say=lambda line: print(line, flush=True))
"""


def start(root: Path) -> subprocess.Popen[str]:
    here = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(here), "ORGANSEG_TRACKING": "offline"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(root)], env=environment, cwd=here, stdout=subprocess.PIPE, text=True
    )


def wait_for_checkpoint(paths: StudyPaths, process: subprocess.Popen[str], least: int) -> None:
    for _ in range(6000):
        found = [read_checkpoint(folder) for folder in (paths.results / "checkpoints").glob("*")]
        if any(one is not None and one[1].step >= least for one in found):
            return
        assert process.poll() is None, "the training ended before it could be killed"
        time.sleep(0.01)
    pytest.fail("no checkpoint came")


@pytest.mark.slow
def test_sigkill_and_resume_give_equal_bits(tmp_path: Path) -> None:
    _, paths = ready(tmp_path / "whole", steps=60)
    assert start(tmp_path / "whole").wait() == 0
    _, other = ready(tmp_path / "killed", steps=60)
    for least in (1, 20, 40):
        process = start(tmp_path / "killed")
        wait_for_checkpoint(other, process, least)
        process.kill()
        process.wait()
    assert start(tmp_path / "killed").wait() == 0
    assert outputs(paths) == outputs(other)


@pytest.mark.slow
def test_sigterm_writes_a_checkpoint_and_exits(tmp_path: Path) -> None:
    _, paths = ready(tmp_path, steps=60)
    process = start(tmp_path)
    wait_for_checkpoint(paths, process, 1)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert "goes on from here" in said
    assert not paths.model("unet", 0).exists()
