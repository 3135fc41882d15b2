"""Two processes that share a batch take the same steps as one process alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from pipeline import plan, preprocess, train
from pipeline.core.files import read_json
from pipeline.core.journal import read_journal
from pipeline.inference.model_files import load_model
from tests.train.studies import chest_study

STEPS = 6
SMALL = {
    "size": [32, 32],
    "batch": 4,
    "network": {"features": [8, 16, 32]},
    "validate_every": 3,
}
#: The second process has memory for one patch at a time; the command is the same.
NARROW = """
import os, sys
import torch
from pipeline.train.engine import Engine

honest = Engine._accumulate

def narrow(self, batch, step):
    if os.environ["RANK"] == "1" and self.micro_batch > 1:
        raise torch.OutOfMemoryError("out of memory")
    return honest(self, batch, step)

Engine._accumulate = narrow
from pipeline.cli import main
sys.argv[0] = "organseg"
main()
"""
CHANGES: dict[str, Any] = {"models": {"unet": {"plan": SMALL}}, "budget": {"steps": STEPS}}


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["enough", "short in one of them"])
def test_two_processes_learn_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: str) -> None:
    monkeypatch.setenv("ORGANSEG_TRACKING", "offline")
    places = []
    for name in ("one", "two"):
        study, paths = chest_study(tmp_path / name, 8, **CHANGES)
        plan.run(study, paths)
        preprocess.run(study, paths, "unet", threads=1)
        places.append(paths)
    train.run(study, places[0], "unet", 0, threads=1)
    # Through the command, whose lock the second process must not wait for.
    (tmp_path / "two" / "configs").mkdir()
    (tmp_path / "two" / "configs" / "chest.yaml").write_text(yaml.safe_dump(study.model_dump(mode="json")))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    if memory == "enough":
        command += ["-m", "pipeline"]
    else:
        (tmp_path / "narrow.py").write_text(NARROW)
        command += [str(tmp_path / "narrow.py")]
    done = subprocess.run(
        [*command, "train", "--study", "chest", "--threads", "1", "--device", "cpu"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path / "two",
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    key = train.read_task(places[1], "unet", 0).key
    kept = read_json(places[1].checkpoints(key) / "settings.json")
    assert kept["micro_batch"] == (2 if memory == "enough" else 1)
    losses, dices = [], []
    for paths in places:
        events = list(read_journal(paths.model("unet", 0) / "journal.jsonl"))
        losses.append([event["loss"] for event in events if event["kind"] == "step"])
        dices.append([event["mean"] for event in events if event["kind"] == "validation"])
    assert len(losses[0]) == STEPS
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-5)
    np.testing.assert_allclose(dices[0], dices[1], atol=1e-3)
    alone, together = (load_model(paths.model("unet", 0))[0].state_dict() for paths in places)
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, atol=1e-3, rtol=1e-3)
