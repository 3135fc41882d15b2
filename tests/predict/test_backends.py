"""Backends agree, refuse what they cannot read, and send nothing anywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline.core.errors import InputError
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.formats.store import read_scan
from pipeline.inference import backends, predictor
from pipeline.inference.backends import gpu_present, open_network
from pipeline.inference.champion import FILE, read_champion
from pipeline.inference.model_files import build_for
from pipeline.inference.predictor import open_champion
from pipeline.predict.model import open_model
from pipeline.select.onnx_export import write_onnx
from tests.predict.plans import make_plan

Made = tuple[Study, StudyPaths]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_backends_agree_with_torch(chosen_volumes: Made, backend: str) -> None:
    pytest.importorskip(backend)
    _, paths = chosen_volumes
    champion = read_champion(paths.champion)
    scan = read_scan(paths.scan(0, "s4"))
    ours = open_champion(paths.champion, backend="torch", threads=1)[0].predict(scan)
    theirs = open_champion(paths.champion, backend=backend, threads=1)[0].predict(scan)  # type: ignore[arg-type]
    assert np.abs(ours.probabilities - theirs.probabilities).max() < champion.backend.tolerance
    assert np.mean(ours.labels.data != theirs.labels.data) < 1e-3


@pytest.mark.parametrize("name", ["ternausnet11", "unet_classic"])
def test_other_networks_are_exported(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    plan = make_plan(spatial_dims=2, patch=[48, 40], network={"name": name}, overlapping=True)
    network = build_for(plan).eval()
    write_onnx(tmp_path / "model.onnx", network, plan)
    forward = open_network(tmp_path, "onnxruntime", threads=1)
    for count in (1, 3):
        batch = np.random.default_rng(count).normal(size=(count, 1, 48, 40)).astype(np.float32)
        with torch.inference_mode():
            expected = torch.sigmoid(network(torch.from_numpy(batch))).numpy()
        np.testing.assert_allclose(forward(batch), expected, atol=1e-4)


def test_an_onnx_file_tells_nothing_of_its_maker(chosen_volumes: Made, root: Path) -> None:
    _, paths = chosen_volumes
    for path in paths.champion.rglob("*.onnx"):
        content = path.read_bytes()
        assert str(root).encode() not in content
        assert b"site-packages" not in content
        assert b"stack_trace" not in content


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        open_network(tmp_path, "onnxruntime")
    (tmp_path / "model.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match="cannot read"):
        open_network(tmp_path, "onnxruntime")


def test_a_backend_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")

    def missing(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'openvino'", name="openvino")

    monkeypatch.setattr(backends, "_open_openvino", missing)
    with pytest.raises(InputError, match="openvino is not installed"):
        open_network(tmp_path, "openvino")


def test_openvino_brings_no_telemetry(chosen_volumes: Made) -> None:
    pytest.importorskip("openvino")
    _, paths = chosen_volumes
    member = next(paths.champion.glob("members/*"))
    code = (
        "import sys; from pathlib import Path; from pipeline.inference.backends import open_network\n"
        f"open_network(Path({str(member)!r}), 'openvino')\n"
        "sys.exit(any(name.startswith('openvino_telemetry.') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_hidden_gpu_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not gpu_present()


def _with_backend(paths: StudyPaths, **changes: object) -> None:
    champion = read_champion(paths.champion)
    changed = champion.model_copy(update={"backend": champion.backend.model_copy(update=changes)})
    changed.sealed(paths.champion).write(paths.champion / FILE)


def test_a_missing_backend_is_replaced_with_a_word(
    chosen_volumes: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    _, paths = chosen_volumes
    _with_backend(paths, name="openvino", gpu=None)
    monkeypatch.setattr(predictor, "installed", lambda name: name == "onnxruntime")
    said: list[str] = []
    open_champion(paths.champion, threads=1, say=said.append)
    assert said == ["the model was evaluated with openvino, which is not installed here; onnxruntime takes its place"]
    open_model(paths.champion, threads=1, say=print)
    assert "onnxruntime takes its place" in capsys.readouterr().out


@pytest.mark.parametrize(("built", "able", "usable"), [(False, True, False), (True, False, False), (True, True, True)])
def test_a_gpu_that_pytorch_cannot_use(
    chosen_volumes: Made, monkeypatch: pytest.MonkeyPatch, built: bool, able: bool, usable: bool
) -> None:
    """A device node alone does not bring bf16 to the processor."""
    _, paths = chosen_volumes
    _with_backend(paths, name="onnxruntime", gpu="bf16")
    opened: list[tuple[str, str]] = []
    said: list[str] = []
    monkeypatch.setattr(predictor, "gpu_present", lambda: True)
    monkeypatch.setattr(backends, "gpu_present", lambda: True)
    monkeypatch.setattr(backends, "_built_for_cuda", lambda: built)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: able)
    monkeypatch.setattr(predictor, "open_network", lambda path, name, bits, threads: opened.append((name, bits)))
    open_champion(paths.champion, threads=1, say=said.append)
    assert set(opened) == {("torch", "bf16") if usable else ("onnxruntime", "fp32")}
    assert said == ([] if usable else ["there is a GPU that PyTorch cannot use; onnxruntime predicts on the processor"])


def test_what_pytorch_was_built_for_is_read_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert backends._built_for_cuda() == (torch.version.cuda is not None)
    origin = tmp_path / "torch" / "__init__.py"
    origin.parent.mkdir()
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: SimpleNamespace(origin=str(origin)))
    for text, built in (("cuda: Optional[str] = None", False), ("cuda = None", False), ("cuda: str = '12.8'", True)):
        origin.with_name("version.py").write_text(f"__version__ = '2'\n{text}\nhip = None\n")
        assert backends._built_for_cuda() == built
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    assert not backends._built_for_cuda()


def test_pytorch_on_the_processor_never_runs_in_bf16(chosen_volumes: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    _, paths = chosen_volumes
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    member = next(paths.champion.glob("members/*"))
    window = np.random.default_rng(0).normal(size=(1, 1, 16, 16, 16)).astype(np.float32)
    half, full = (open_network(member, "torch", bits, 1)(window) for bits in ("bf16", "fp32"))
    np.testing.assert_array_equal(half, full)


@pytest.mark.gpu
def test_gpu_in_bf16_agrees(chosen_volumes: Made) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    _, paths = chosen_volumes
    scan = read_scan(paths.scan(0, "s4"))
    one = open_champion(paths.champion, backend="onnxruntime")[0].predict(scan)
    two = open_champion(paths.champion, backend="torch", precision="bf16")[0].predict(scan)
    assert np.mean(one.labels.data != two.labels.data) < 0.01
