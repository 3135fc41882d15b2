"""Which backend runs the champion on a processor: the fastest by the stopwatch of those that agree with PyTorch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.core.say import Say
from pipeline.core.scan import Array
from pipeline.inference.backends import installed, open_network
from pipeline.inference.champion import BackendName
from pipeline.inference.sliding_window import Forward

#: Largest difference of a probability from PyTorch's in fp32.
TOLERANCE = 1e-3
#: The first candidate, ONNX Runtime, starts soonest. Another backend replaces it if it is this many times as fast and
#: saves this many seconds a window, so that a near tie does not give one choice today and another tomorrow.
WORTH, SAVED = 1.25, 0.005
#: Calls of each backend that are timed, and the seconds after which no further ones are.
ROUNDS, ENOUGH_SECONDS = 5, 5.0
EXPORTED: tuple[BackendName, ...] = ("onnxruntime", "openvino")


def candidates() -> list[BackendName]:
    """Backends of the exported network that are installed; the usual one first."""
    return [name for name in EXPORTED if installed(name)]


def window_seconds(forwards: Mapping[BackendName, Forward], window: Array) -> dict[BackendName, float]:
    """Shortest time of a call with one window ``(C, *patch)``; the backends take turns, after a call that warms up."""
    batch = window[None].astype(np.float32)
    for forward in forwards.values():
        forward(batch)
    shortest = dict.fromkeys(forwards, float("inf"))
    began = time.perf_counter()
    for number in range(ROUNDS):
        if number and time.perf_counter() - began > ENOUGH_SECONDS:
            break
        for name, forward in forwards.items():
            start = time.perf_counter()
            forward(batch)
            shortest[name] = min(shortest[name], time.perf_counter() - start)
    return shortest


def compare(
    folder: Path, reference: Forward, windows: Sequence[Array], threads: int | None = None
) -> dict[BackendName, tuple[float, float]]:
    """Measure the installed backends on one exported network.

    Args:
        folder: The network's folder.
        reference: PyTorch in fp32 on the processor.
        windows: Real windows ``(C, *patch)``.
        threads: Processor threads.

    Returns:
        Backend → the largest difference of a probability from the reference, and its seconds a window.
    """
    forwards = {name: open_network(folder, name, threads=threads) for name in candidates()}
    batch = np.stack(list(windows)).astype(np.float32)
    wanted = reference(batch)
    apart = {name: float(np.abs(forward(batch) - wanted).max()) for name, forward in forwards.items()}
    seconds = window_seconds(forwards, windows[0])
    return {name: (apart[name], seconds[name]) for name in forwards}


def choose(measured: Mapping[str, Mapping[BackendName, tuple[float, float]]], say: Say) -> BackendName:
    """The fastest backend that agrees with PyTorch on every member, else PyTorch.

    Args:
        measured: Member → what :func:`compare` found.
        say: Takes lines about the times, and about backends that do not agree.
    """
    chosen: BackendName | None = None
    shortest = 0.0
    for name in next(iter(measured.values())):
        apart = float(np.max([member[name][0] for member in measured.values()]))  # a NaN among them counts
        seconds = sum(member[name][1] for member in measured.values())
        if not apart <= TOLERANCE:
            say(f"{name} differs from PyTorch by {apart:.2g}, more than {TOLERANCE:g}: not used")
            continue
        say(f"{name}: {1000 * seconds:.1f} ms a window, within {apart:.1g} of PyTorch")
        if chosen is None or (seconds * WORTH < shortest and shortest - seconds > SAVED * len(measured)):
            chosen, shortest = name, seconds
    if chosen is None:
        say("the champion runs on PyTorch")
    return chosen or "torch"
