"""What runs an exported network: each backend makes a function from windows to probabilities.

Importing this module imports none of them.
"""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.machine import usable_threads
from pipeline.core.scan import Array
from pipeline.inference.champion import ONNX, BackendName, Precision
from pipeline.inference.sliding_window import Forward, torch_forward

INPUT, OUTPUT = "image", "probabilities"


def open_network(
    folder: Path, backend: BackendName, precision: Precision = "fp32", threads: int | None = None
) -> Forward:
    """Make the forward function of one member of a champion.

    Args:
        folder: The member's folder.
        backend: What runs it. ``torch`` takes the GPU where there is one.
        precision: ``fp32`` or ``bf16``; ONNX Runtime, and PyTorch on the processor, know ``fp32`` alone.
        threads: Processor threads; by default what the process may use.

    Raises:
        InputError: A file is absent or cannot be read, or the backend is not installed.
    """
    count = threads or usable_threads()
    if backend == "torch":
        return _open_torch(folder, precision, count)
    path = folder / ONNX
    if not path.is_file():
        raise InputError("the file does not exist", where=str(path), remedy="`organseg select` writes it.")
    try:
        return _open_onnxruntime(path, count) if backend == "onnxruntime" else _open_openvino(path, precision, count)
    except ModuleNotFoundError as error:
        raise InputError(f"backend {backend} is not installed ({error.name})", remedy="Install it.") from None


def installed(backend: BackendName) -> bool:
    """Whether a backend's package is there."""
    return importlib.util.find_spec(backend) is not None


def gpu_usable() -> bool:
    """Whether PyTorch can use a GPU here. It is imported only where there is one, and it was built for one."""
    if not gpu_present() or not _built_for_cuda():
        return False
    import torch

    return torch.cuda.is_available()


def _built_for_cuda() -> bool:
    """Whether PyTorch is installed with CUDA, by the file that says so; where there is no such file, perhaps."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return False
    version = Path(found.origin).with_name("version.py")
    if not version.is_file():
        return True
    return re.search(r"^cuda\b[^=\n]*= *None", version.read_text(encoding="utf-8"), re.MULTILINE) is None


def gpu_present() -> bool:
    """Whether this process sees an NVIDIA GPU, found out without importing PyTorch."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all") in {"", "-1"}
    return not hidden and any(Path("/dev").glob("nvidia[0-9]*"))


def _open_onnxruntime(path: Path, threads: int) -> Forward:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin while they wait take the processor from those that read and write beside them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own errors share no base but this
        raise InputError(f"ONNX Runtime cannot read it ({type(error).__name__})", where=str(path)) from None

    def forward(batch: Array) -> Array:
        answer: Array = session.run([OUTPUT], {INPUT: np.ascontiguousarray(batch, np.float32)})[0]
        return answer

    return forward


def _open_openvino(path: Path, precision: Precision, threads: int) -> Forward:
    import openvino

    core = openvino.Core()
    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
    }
    model = core.read_model(str(path))
    # One window a call: of a known shape the network is a twentieth faster, and its answer depends on no other window.
    model.reshape([1, *(side.get_length() for side in list(model.input(0).partial_shape)[1:])])
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def forward(batch: Array) -> Array:
        answers = []
        for window in np.ascontiguousarray(batch, np.float32):
            request.infer({INPUT: window[None]}, share_inputs=True)
            answers.append(np.array(request.get_tensor(OUTPUT).data[0]))
        return np.stack(answers)

    return forward


def _open_torch(folder: Path, precision: Precision, threads: int) -> Forward:
    import torch

    from pipeline.inference.model_files import load_model

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(threads)
        precision = "fp32"  # bf16 is for the GPU; emulated, it takes a hundred times as long
    network, plan, _ = load_model(folder, device)
    return torch_forward(network.eval(), plan.overlapping, device, precision)
