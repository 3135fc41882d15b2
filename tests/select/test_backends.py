"""The choice of a backend: by the stopwatch, among those that agree with PyTorch, and never by a hair."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.inference.champion import BackendName
from pipeline.inference.model_files import build_for
from pipeline.inference.sliding_window import torch_forward
from pipeline.select.backends import TOLERANCE, candidates, choose, compare, window_seconds
from pipeline.select.onnx_export import write_onnx
from tests.predict.plans import make_plan

Measured = dict[str, dict[BackendName, tuple[float, float]]]


def measured(onnxruntime: tuple[float, float], openvino: tuple[float, float]) -> Measured:
    usual: dict[BackendName, tuple[float, float]] = {"onnxruntime": (1e-6, 0.1), "openvino": (1e-6, 0.1)}
    return {"members/unet-fold0": usual, "members/unet-fold1": {"onnxruntime": onnxruntime, "openvino": openvino}}


def test_the_fastest_of_those_that_agree() -> None:
    said: list[str] = []
    assert choose(measured((1e-6, 0.3), (1e-6, 0.1)), said.append) == "openvino"
    assert choose(measured((1e-6, 0.1), (1e-6, 0.3)), said.append) == "onnxruntime"
    assert choose(measured((1e-6, 0.12), (1e-6, 0.1)), said.append) == "onnxruntime", "a tie stays with the usual one"
    tiny: Measured = {"members/unet-fold0": {"onnxruntime": (0.0, 0.003), "openvino": (0.0, 0.001)}}
    assert choose(tiny, said.append) == "onnxruntime", "what takes no time is no reason to change"
    assert said[0] == "onnxruntime: 400.0 ms a window, within 1e-06 of PyTorch"


def test_one_member_that_differs_is_enough_to_refuse_a_backend() -> None:
    said: list[str] = []
    assert choose(measured((1e-6, 0.3), (2 * TOLERANCE, 0.01)), said.append) == "onnxruntime"
    assert "openvino differs from PyTorch by 0.002" in said[1]
    assert choose(measured((float("nan"), 0.1), (1.0, 0.1)), said.append) == "torch"
    assert said[-1] == "the champion runs on PyTorch"


def test_backends_are_measured_on_the_exported_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plan = make_plan(spatial_dims=2, patch=[32, 32])
    network = build_for(plan).eval()
    write_onnx(tmp_path / "model.onnx", network, plan)
    windows = [np.random.default_rng(n).normal(size=(1, 32, 32)).astype(np.float32) for n in range(2)]
    found = compare(tmp_path, torch_forward(network, plan.overlapping), windows, 1)
    assert list(found) == candidates()
    assert candidates()[0] == "onnxruntime"
    for apart, seconds in found.values():
        assert apart < 1e-4
        assert 0 < seconds < 5
    shifted = compare(tmp_path, lambda batch: torch_forward(network, plan.overlapping)(batch) + 0.5, windows, 1)
    assert all(abs(apart - 0.5) < 1e-3 for apart, _ in shifted.values())


def test_the_first_call_is_not_timed_and_backends_take_turns() -> None:
    calls: list[tuple[str, int]] = []

    def named(name: str, seconds: float) -> Callable[[np.ndarray], np.ndarray]:
        def forward(batch: np.ndarray) -> np.ndarray:
            first = name not in [earlier for earlier, _ in calls]
            calls.append((name, len(batch)))
            time.sleep(0.3 if first else seconds)
            return batch

        return forward

    forwards: dict[BackendName, Any] = {"onnxruntime": named("onnxruntime", 0.01), "openvino": named("openvino", 0.04)}
    found = window_seconds(forwards, np.zeros((1, 4, 4), np.float32))
    assert 0.01 <= found["onnxruntime"] < 0.03
    assert 0.04 <= found["openvino"] < 0.2
    assert calls[:4] == [("onnxruntime", 1), ("openvino", 1)] * 2
