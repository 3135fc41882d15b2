"""Which backend runs the champion on a processor: the fastest by the stopwatch of those that agree with PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.core.scan import Array
from pipeline.mechanics.backends import installed, open_network
from pipeline.mechanics.champion import BackendName
from pipeline.mechanics.sliding_window import Forward

#: Largest difference of a probability from PyTorch's in fp32.
TOLERANCE = 1e-3
#: How much faster another backend must be: ONNX Runtime starts soonest, and a near tie must not fall either way.
WORTH = 1.25
#: Calls that are timed, and the seconds after which no further one is.
ROUNDS, ENOUGH_SECONDS = 5, 2.0
EXPORTED: tuple[BackendName, ...] = ("onnxruntime", "openvino")


def candidates() -> list[BackendName]:
    """Backends of the exported network that are installed; the usual one first."""
    return [name for name in EXPORTED if installed(name)]


def window_seconds(forward: Forward, window: Array) -> float:
    """Shortest time of a call with one window ``(C, *patch)``, after one that warms up."""
    batch = window[None].astype(np.float32)
    forward(batch)
    times: list[float] = []
    while not times or (len(times) < ROUNDS and sum(times) < ENOUGH_SECONDS):
        start = time.perf_counter()
        forward(batch)
        times.append(time.perf_counter() - start)
    return min(times)


def largest_difference(one: Forward, other: Forward, windows: Sequence[Array]) -> float:
    """Largest difference of a probability between two backends, over windows ``(C, *patch)``."""
    batch = np.stack(list(windows)).astype(np.float32)
    return float(np.abs(one(batch) - other(batch)).max())


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
        Backend → its largest difference from the reference, and its seconds a window.
    """
    found = {}
    for name in candidates():
        forward = open_network(folder, name, threads=threads)
        found[name] = largest_difference(forward, reference, windows), window_seconds(forward, windows[0])
    return found


def choose(
    measured: Mapping[str, Mapping[BackendName, tuple[float, float]]], say: Callable[[str], None]
) -> BackendName:
    """The fastest backend that agrees with PyTorch on every member, else PyTorch.

    Args:
        measured: Member → what :func:`compare` found.
        say: Told of the times, and of backends that do not agree.
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
        if chosen is None or seconds * WORTH < shortest:
            chosen, shortest = name, seconds
    if chosen is None:
        say("the champion runs on PyTorch")
    return chosen or "torch"
