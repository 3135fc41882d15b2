"""One step of a training: precision, clipping, the mean of weights, memory, and what the plan says of kernels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline import plan, preprocess, train
from pipeline.core.errors import InputError
from pipeline.core.files import read_json
from pipeline.core.paths import StudyPaths
from pipeline.core.plan import Plan, read_plan
from pipeline.core.splits import read_splits
from pipeline.core.study import Study
from pipeline.inference.model_files import build_for, load_model
from pipeline.inference.sliding_window import torch_forward
from pipeline.train import device as machine
from pipeline.train.data import Batches, load_scans
from pipeline.train.engine import Engine, Settings, drawn_network
from pipeline.train.schedule import ema_decay
from tests.train.studies import chest_study, head_study

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {"size": [32, 32], "batch": 2, "network": {"features": [4, 8, 16]}}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORGANSEG_TRACKING", "offline")


def prepared(made: tuple[Study, StudyPaths], model: str = "unet") -> tuple[Study, StudyPaths]:
    plan.run(*made)
    preprocess.run(*made, model, threads=1)
    return made


def chest(root: Path, steps: int = 4, count: int = 6, **values: Any) -> tuple[Study, StudyPaths]:
    changes = {"models": {"unet": {"plan": {**SMALL, **values}}}, "budget": {"steps": steps}}
    return prepared(chest_study(root, count, **changes))


def make_engine(made: tuple[Study, StudyPaths], precision: str = "fp32", **values: Any) -> Engine:
    read = read_plan(made[1].plan("unet"))
    read = Plan.model_validate(read.model_dump() | values)
    task = train.read_task(made[1], "unet", 0)
    scans = load_scans(task.prepared, task.training, read, CPU)
    network = drawn_network(read, lambda: build_for(read))
    return Engine(read, network, Batches(scans, read, CPU), Settings(10, precision, read.batch))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_goes_nearly_the_same_way(tmp_path: Path, precision: str) -> None:
    made = chest(tmp_path, augmentation={"preset": "none"})
    whole, half = make_engine(made), make_engine(made, precision)
    losses = [[engine.step(step) for step in range(4)] for engine in (whole, half)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.05)
    assert losses[1] != losses[0]
    # Autocast computes in half precision; what is kept between steps stays whole.
    assert {value.dtype for value in half.network.state_dict().values()} == {torch.float32}
    state = half.state()
    assert ("scaler" in state) == (precision == "fp16")
    again = make_engine(made, precision)
    again.restore(state)
    assert again.step(4) == half.step(4)


def test_the_scale_of_fp16_falls_where_a_gradient_overflows(tmp_path: Path) -> None:
    engine = make_engine(chest(tmp_path), "fp16")
    engine.scaler._init_scale = 2.0**60
    before = {name: value.clone() for name, value in engine.network.named_parameters()}
    engine.step(0)
    assert engine.scaler.get_scale() < 2.0**60
    assert all(torch.equal(value, before[name]) for name, value in engine.network.named_parameters())


def test_the_gradient_is_clipped_to_the_plans_norm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = chest(tmp_path)
    norms = []
    for clip in (math.inf, 0.01):
        optimiser = {"name": "sgd", "learning_rate": 0.1, "gradient_clip": clip, "warmup": 0.0}
        engine = make_engine(made, optimiser=optimiser)
        honest = engine._advance

        def measured(engine: Engine = engine, honest: Any = honest) -> None:
            norms.append(math.sqrt(sum(float(p.grad.square().sum()) for p in engine.network.parameters())))  # type: ignore[union-attr]
            honest()

        monkeypatch.setattr(engine, "_advance", measured)
        engine.step(0)
    assert norms[0] > 0.02
    assert norms[1] == pytest.approx(0.01, rel=1e-3)


def test_the_kept_weights_are_the_mean_that_the_plan_says(tmp_path: Path) -> None:
    engine = make_engine(chest(tmp_path))
    name = next(name for name, _ in engine.network.named_parameters())
    expected = engine.network.state_dict()[name].clone()
    for step in range(5):
        engine.step(step)
        decay = ema_decay(step, 0.99)
        expected = decay * expected + (1 - decay) * engine.network.state_dict()[name]
    torch.testing.assert_close(engine.mean.state_dict()[name], expected, atol=1e-6, rtol=1e-5)


def test_scans_on_disk_train_as_scans_in_memory_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name, share in (("memory", 0.35), ("disk", 0.0)):
        made = chest(tmp_path / name, 3)
        monkeypatch.setattr("pipeline.train.data.HELD_SHARE", share)
        task = train.read_task(made[1], "unet", 0)
        scans = load_scans(task.prepared, task.training, task.plan, CPU)
        assert {scan.fetched for scan in scans} == {name == "disk"}
        train.run(*made, "unet", 0, threads=1)
        found.append(load_model(made[1].model("unet", 0))[0].state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_moments_that_do_not_fit_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine(chest(tmp_path))

    def full(*args: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(engine.optimiser, "step", full)
    with pytest.raises(InputError, match="moments"):
        engine.step(0)


def test_windows_that_do_not_fit_are_asked_for_in_parts() -> None:
    sizes: list[int] = []

    class Narrow(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sizes.append(len(x))
            if len(x) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return x[:, :1] * 2

    forward = torch_forward(Narrow(), True)
    batch = np.random.default_rng(0).normal(size=(5, 1, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(forward(batch), 1 / (1 + np.exp(-2 * batch)), rtol=1e-5)
    assert sizes == [5, 3, 2, 1, 2]


def test_a_window_that_never_fits_is_an_error() -> None:
    class Never(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")

    with pytest.raises(InputError, match="one window is more than the memory"):
        torch_forward(Never(), False)(np.zeros((2, 1, 8, 8), np.float32))


def test_the_plan_asks_for_deterministic_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(machine, "use_determinism", asked.append)
    made = chest(tmp_path, 1, deterministic=True)
    train.run(*made, "unet", 0, threads=1)
    assert asked == [True]
    settings = made[1].checkpoints(train.read_task(made[1], "unet", 0).key) / "settings.json"
    assert read_json(settings)["deterministic"] is True
    other = chest(tmp_path / "other", 1)
    assert train.read_task(other[1], "unet", 0).key != train.read_task(made[1], "unet", 0).key


def test_a_training_goes_on_with_the_kernels_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = chest(tmp_path, 1)
    train.run(*made, "unet", 0, threads=1)
    asked: list[bool] = []
    monkeypatch.setattr(machine, "use_determinism", asked.append)
    said: list[str] = []
    train.run(*made, "unet", 0, threads=1, deterministic=True, say=said.append)
    assert asked == [False]
    assert "unet, fold 0 began without --deterministic, and goes on so" in said


def test_determinism_is_switched_on_and_off(monkeypatch: pytest.MonkeyPatch) -> None:
    machine.use_determinism(True)
    try:
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        machine.use_determinism(False)
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_plan_asks_for_a_compiled_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The eager backend stands for the real one, which takes minutes of C++ here.
    honest, compiled = torch.compile, []

    def compile_eagerly(network: Any) -> Any:
        compiled.append(network)
        return honest(network, backend="eager")

    monkeypatch.setattr(torch, "compile", compile_eagerly)
    made = chest(tmp_path, 1, compile=True)
    train.run(*made, "unet", 0, threads=1)
    torch.compiler.reset()
    assert len(compiled) == 1
    _, _, facts = load_model(made[1].model("unet", 0))
    assert facts["steps"] == 1


def test_each_fold_validates_on_its_own_patients(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"models": {"unet": {"plan": SMALL}}, "budget": {"steps": 1}, "split": {"folds": 3}}
    made = prepared(chest_study(tmp_path, 10, **changes))
    train.run(*made, "unet", 1, threads=1)
    facts = load_model(made[1].model("unet", 1))[2]
    splits = read_splits(made[1].splits)
    assert {splits[f"p-{scan}"].fold for scan in facts["validation_scans"]} == {1}
    assert {splits[f"p-{scan}"].fold for scan in facts["training_scans"]} == {0, 2}
    assert {splits[f"p-{scan}"].split for scan in facts["training_scans"]} == {"development"}
    assert facts["validation"]["dice"] is not None


def test_training_starts_from_an_earlier_model_and_knows_it(tmp_path: Path) -> None:
    first = chest(tmp_path / "first", 6)
    train.run(*first, "unet", 0, threads=1)
    earlier = first[1].model("unet", 0)
    fresh = chest(tmp_path / "fresh", 1)
    train.run(*fresh, "unet", 0, threads=1)
    values = {"models": {"unet": {"plan": SMALL, "init_from": str(earlier)}}, "budget": {"steps": 1}}
    made = prepared(chest_study(tmp_path / "second", 6, **values))
    said: list[str] = []
    train.run(*made, "unet", 0, threads=1, say=said.append)
    assert any("start from an earlier model" in line for line in said)
    names = [name for name, _ in load_model(earlier)[0].named_parameters()]
    known, begun, drawn = (
        load_model(paths.model("unet", 0))[0].state_dict() for paths in (first[1], made[1], fresh[1])
    )
    far = sum(float((drawn[name] - known[name]).square().sum()) for name in names)
    near = sum(float((begun[name] - known[name]).square().sum()) for name in names)
    assert near < 0.2 * far
    before = train.read_task(made[1], "unet", 0).key
    (earlier / "weights.safetensors").write_bytes((fresh[1].model("unet", 0) / "weights.safetensors").read_bytes())
    assert train.read_task(made[1], "unet", 0).key != before


def test_another_file_of_weights_is_another_training(tmp_path: Path) -> None:
    made = chest(tmp_path, 1)
    read = read_plan(made[1].plan("unet"))
    file = tmp_path / "vgg.pth"
    plan_with = read.model_copy(update={"network": {"name": "ternausnet11", "weights": str(file)}})
    assert train.given_weights(read) is None
    file.write_bytes(b"one")
    first = train.given_weights(plan_with)
    file.write_bytes(b"other")
    assert None not in (first, train.given_weights(plan_with))
    assert first != train.given_weights(plan_with)


def test_slices_across_any_axis_are_trained(tmp_path: Path) -> None:
    small = {"slice_axis": 0, "patch": [32, 16], "batch": 2, "network": {"features": [4, 8, 16]}}
    models = {"unet": {"dims": 2, "plan": small}}
    made = prepared(head_study(tmp_path, 6, models=models, budget={"steps": 1}))
    train.run(*made, "unet", 0, threads=1)
    read = load_model(made[1].model("unet", 0))[1]
    assert (read.spatial_dims, read.slice_axis) == (2, 0)
