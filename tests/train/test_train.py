"""The stage ``train``: what it leaves, what it learns, and what it says when something is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pipeline import plan, preprocess, train
from pipeline.core.errors import InputError
from pipeline.core.files import read_json, read_table
from pipeline.core.journal import read_journal
from pipeline.core.paths import StudyPaths
from pipeline.core.plan import Plan
from pipeline.core.study import Study
from pipeline.inference.champion import Champion, Member
from pipeline.inference.model_files import build_for, load_model
from pipeline.train import device as machine
from pipeline.train import read_task
from pipeline.train.engine import Engine
from pipeline.train.transfer import earlier_model, start_from
from tests.train.studies import chest_study, head_study

SMALL = {"batch": 2, "network": {"features": [8, 16, 32]}}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORGANSEG_TRACKING", "offline")


def trained(made: tuple[Study, StudyPaths], model: str = "unet", **options: Any) -> tuple[Plan, dict[str, Any]]:
    study, paths = made
    plan.run(study, paths)
    preprocess.run(study, paths, model, threads=1)
    train.run(study, paths, model, 0, threads=1, **options)
    _, read, facts = load_model(paths.model(model, 0))
    return read, facts


def test_pictures_with_overlapping_organs_are_learned(tmp_path: Path) -> None:
    network = {"features": [8, 16, 32], "deep_supervision": 0}
    small = {"size": [32, 32], "batch": 4, "network": network, "augmentation": {"preset": "none"}}
    made = chest_study(tmp_path, 10, models={"unet": {"plan": small}}, budget={"steps": 60})
    _, facts = trained(made)
    assert facts["validation"]["dice"] > 0.8
    assert set(facts["validation"]) == {"dice", "dice_left_lung", "dice_right_lung", "dice_heart"}
    folder = made[1].model("unet", 0)
    rows = read_table(folder / "history.csv")
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert rows[-1]["step"] == "60"
    assert rows[-1]["dice_heart"]
    assert Image.open(folder / "augmented.png").size[0] > 200
    kinds = [event["kind"] for event in read_journal(folder / "journal.jsonl")]
    assert kinds[0] == "start"
    assert kinds[-1] == "end"
    assert kinds.count("validation") == 4


def test_volumes_with_exclusive_organs_are_trained_in_3d_and_by_slices(tmp_path: Path) -> None:
    models = {
        "unet": {"plan": {"batch": 2, "network": {"features": [4, 8, 16]}}},
        "ternausnet11": {"plan": {"patch": [32, 32], "batch": 1, "network": {"features": 4}}},
    }
    made = head_study(tmp_path, 6, models=models, budget={"steps": 1})
    volumes, facts = trained(made)
    assert volumes.spatial_dims == 3
    assert facts["steps"] == 1
    slices, _ = trained(made, "ternausnet11")
    assert (slices.spatial_dims, slices.slice_axis) == (2, 2)


def test_a_model_carries_no_time_and_no_machine(tmp_path: Path) -> None:
    made = chest_study(tmp_path, 6, models={"unet": {"plan": {**SMALL, "size": [32, 32]}}}, budget={"steps": 1})
    trained(made)
    content = read_json(made[1].model("unet", 0) / "model.json")
    assert set(content) == {"format", "weights", "facts", "plan"}
    assert not {"seconds", "device", "host", "threads"} & set(content["facts"])
    assert str(tmp_path) not in json.dumps(content)


def test_minutes_become_steps_before_the_first(tmp_path: Path) -> None:
    made = chest_study(tmp_path, 6, models={"unet": {"plan": {**SMALL, "size": [32, 32]}}}, budget={"minutes": 0.05})
    said: list[str] = []
    _, facts = trained(made, say=said.append)
    assert facts["steps"] >= 1
    assert any(f"so {facts['steps']} steps" in line for line in said)
    key = read_task(made[1], "unet", 0).key
    assert read_json(made[1].checkpoints(key) / "settings.json")["steps"] == facts["steps"]


@pytest.mark.parametrize("poison", ["loss", "weights"])
def test_not_finite_stops_with_step_scans_and_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poison: str
) -> None:
    made = chest_study(tmp_path, 6, models={"unet": {"plan": {**SMALL, "size": [32, 32]}}}, budget={"steps": 5})
    honest = Engine._accumulate

    def poisoned(self: Engine, batch: Any, step: int) -> float:
        loss = honest(self, batch, step)
        if step == 3 and poison == "weights":
            next(self.network.parameters()).grad[0] = torch.inf  # type: ignore[index]
        return float("nan") if step == 3 and poison == "loss" else loss

    monkeypatch.setattr(Engine, "_accumulate", poisoned)
    with pytest.raises(InputError, match="not finite") as caught:
        trained(made)
    assert "step 3" in str(caught.value)
    assert "scans x" in str(caught.value)
    assert "checkpoint, of step 3" in str(caught.value)
    monkeypatch.undo()
    monkeypatch.setenv("ORGANSEG_TRACKING", "offline")
    train.run(*made, "unet", 0, threads=1)
    assert (made[1].model("unet", 0) / "weights.safetensors").is_file()


def test_a_broken_scan_leaves_no_trace_in_running_statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With batch norm the forward pass alone writes into the network: the checkpoint must not have it."""
    plan = {"size": [32, 32], "patch": [32, 32], "batch": 2, "network": {"features": [4, 8, 8, 8]}}
    made = chest_study(tmp_path, 6, models={"unet_classic": {"plan": plan}}, budget={"steps": 5})
    honest = Engine.batch

    def broken(self: Engine, step: int) -> Any:
        batch = honest(self, step)
        return replace(batch, images=batch.images * float("nan")) if step == 3 else batch

    monkeypatch.setattr(Engine, "batch", broken)
    with pytest.raises(InputError, match="not finite"):
        trained(made, "unet_classic")
    monkeypatch.setattr(Engine, "batch", honest)
    train.run(*made, "unet_classic", 0, threads=1)
    network, _, _ = load_model(made[1].model("unet_classic", 0))
    buffers = dict(network.named_buffers())
    assert any("running" in name for name in buffers)
    assert all(bool(torch.isfinite(value).all()) for value in buffers.values())


def test_memory_that_runs_out_halves_the_micro_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {**SMALL, "batch": 4, "size": [32, 32], "augmentation": {"preset": "none"}}
    made = chest_study(tmp_path / "a", 6, models={"unet": {"plan": whole}}, budget={"steps": 2})
    trained(made)
    expected, _, _ = load_model(made[1].model("unet", 0))
    honest = Engine._accumulate

    def narrow(self: Engine, batch: Any, step: int) -> float:
        if self.micro_batch > 1:
            raise torch.OutOfMemoryError("out of memory")
        return honest(self, batch, step)

    monkeypatch.setattr(Engine, "_accumulate", narrow)
    said: list[str] = []
    made = chest_study(tmp_path / "b", 6, models={"unet": {"plan": whole}}, budget={"steps": 2})
    trained(made, say=said.append)
    assert [line.split()[3] for line in said if line.startswith("out of memory")] == ["2", "1"]
    found, _, _ = load_model(made[1].model("unet", 0))
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, atol=2e-4, rtol=1e-3)


def test_a_patch_that_never_fits_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = chest_study(tmp_path, 6, models={"unet": {"plan": {**SMALL, "size": [32, 32]}}}, budget={"steps": 2})

    def never(self: Engine, batch: Any, step: int) -> float:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")

    monkeypatch.setattr(Engine, "_accumulate", never)
    with pytest.raises(InputError, match="more than the memory"):
        trained(made)


def test_missing_pieces_are_named(tmp_path: Path) -> None:
    study, paths = chest_study(tmp_path, 6, models={"unet": {"plan": {**SMALL, "size": [32, 32]}}}, budget={"steps": 1})
    with pytest.raises(InputError, match="does not exist"):
        train.run(study, paths, "unet", 0)
    plan.run(study, paths)
    with pytest.raises(InputError, match="does not exist"):
        train.run(study, paths, "unet", 0)
    preprocess.run(study, paths, "unet", threads=1)
    with pytest.raises(InputError, match="no fold 3"):
        train.run(study, paths, "unet", 3)
    other, _ = chest_study(tmp_path, 6, models={"unet": {"plan": {**SMALL, "size": [40, 40]}}}, budget={"steps": 1})
    plan.run(other, paths)
    with pytest.raises(InputError, match="another plan"):
        train.run(other, paths, "unet", 0)


def test_training_starts_from_an_earlier_model_with_other_organs(tmp_path: Path) -> None:
    small = {"plan": {**SMALL, "size": [32, 32]}}
    made = chest_study(tmp_path, 6, models={"unet": small}, budget={"steps": 2})
    trained(made)
    before, _, _ = load_model(made[1].model("unet", 0))
    organs = {"heart": {}, "aorta": {}}
    values = made[0].model_dump() | {
        "organs": organs,
        "models": {"next": {"network": "unet", "init_from": "champion", **small}},
        "budget": {"steps": 1},
    }
    fingerprint = read_json(made[1].fingerprint)
    fingerprint["organs"] = dict.fromkeys(organs, fingerprint["organs"]["heart"])
    planned = plan.make_plan(Study.model_validate(values), "next", fingerprint)
    champion = Champion(
        name="unet",
        study="chest",
        modality="xray",
        organs=list(made[0].organs),
        overlapping=True,
        colors={},
        members=[Member(model="unet", fold=0, folder="results/chest/models/unet/fold0")],
    )
    champion.sealed(tmp_path).write(tmp_path / "champion.yaml")
    network = build_for(planned)
    taken = start_from(network, planned, earlier_model(tmp_path, planned))
    old, new = before.state_dict(), network.state_dict()
    assert taken == len(new)
    assert torch.equal(new["heads.0.weight"][0], old["heads.0.weight"][2])
    assert not torch.equal(new["heads.0.weight"][1], old["heads.0.weight"][1])
    assert all(torch.equal(new[name], old[name]) for name in new if new[name].shape == old[name].shape)
    with pytest.raises(InputError, match="is not a trained model"):
        earlier_model(tmp_path / "nowhere", planned)


def test_precision_is_offered_only_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(machine, "_cpu_flags", lambda: {"avx2", "fma"})
    assert machine.precisions_of(cpu) == ("fp32",)
    monkeypatch.setattr(machine, "_cpu_flags", lambda: {"avx2", "amx_bf16"})
    assert machine.precisions_of(cpu) == ("fp32", "bf16")


def test_threads_are_what_was_granted_or_what_is_there() -> None:
    before = torch.get_num_threads()
    try:
        assert machine.use_threads(1) == 1
        assert machine.use_threads(10_000) == machine.use_threads(None)
    finally:
        torch.set_num_threads(before)


def test_steps_of_a_budget() -> None:
    assert machine.steps_in(10, 60, 1.0, 40) == int(500 * machine.SAFETY)
    assert machine.steps_in(0.001, 60, 1.0, 40) == 1
