"""Time and memory of Dice, HD95 and surface Dice of a large volume, pair by pair with MONAI and surface-distance.

Run on one core: ``taskset -c 0 python tests/benchmarks/metrics_speed.py [--pairs 3] [--shape 512 512 200]``. Each
measurement is a fresh process on the same masks; ours and the peer take turns, so that a busy machine is unfair to
both. The masks are made in the form that each package takes before the clock starts: one label map for ours, one
channel an organ for the peers.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

SPACING = (0.8, 0.8, 1.5)
TOLERANCE = 2.0
#: Centre and half axes of each organ as shares of the image, roughly lungs, heart, liver and a kidney.
ORGANS = (
    ((0.30, 0.50, 0.55), (0.13, 0.20, 0.38)),
    ((0.70, 0.50, 0.55), (0.13, 0.20, 0.38)),
    ((0.50, 0.40, 0.45), (0.09, 0.10, 0.18)),
    ((0.32, 0.50, 0.08), (0.14, 0.14, 0.08)),
    ((0.66, 0.62, 0.08), (0.04, 0.05, 0.07)),
)


def make(shape: tuple[int, int, int], seed: int) -> NDArray[np.uint8]:
    """A label map of five organs whose surfaces wobble by a few voxels from seed to seed."""
    rng = np.random.default_rng(seed)
    data = np.zeros(shape, np.uint8)
    grid = [np.arange(n, dtype=np.float32) for n in shape]
    for value, (centre, half) in enumerate(ORGANS, 1):
        wobble: NDArray[np.floating[Any]] = np.ones((1, 1, 1), np.float32)
        parts = []
        for axis, (c, h, n) in enumerate(zip(centre, half, shape, strict=True)):
            offset, phase = rng.normal(0, 0.8), rng.uniform(0, 2 * np.pi)
            unit = (grid[axis] - c * n - offset) / (h * n)
            view = [1, 1, 1]
            view[axis] = n
            parts.append((unit**2).reshape(view))
            wobble = wobble + (0.015 * np.sin(grid[axis] / 7 + phase)).reshape(view).astype(np.float32)
        data[parts[0] + parts[1] + parts[2] < wobble] = value
    return data


def run_ours(prediction: NDArray[np.uint8], reference: NDArray[np.uint8]) -> tuple[float, list[list[float]]]:
    from pipeline.core.labels import LabelMap
    from pipeline.metrics.organs import MetricSettings, compare_labels

    organs = tuple(f"organ{value}" for value in range(1, len(ORGANS) + 1))
    maps = [LabelMap(data, np.eye(4), organs, False, frozenset(organs)) for data in (prediction, reference)]
    start = time.perf_counter()
    measured = compare_labels(maps[0], maps[1], SPACING, MetricSettings(tolerances=(TOLERANCE,), causes=False))
    seconds = time.perf_counter() - start
    return seconds, [[m.dice, m.hd95, m.nsd[TOLERANCE]] for m in measured.values()]


def run_monai(prediction: NDArray[np.uint8], reference: NDArray[np.uint8]) -> tuple[float, list[list[float]]]:
    import torch
    from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice

    torch.set_num_threads(1)
    values = range(1, len(ORGANS) + 1)
    pair = [torch.from_numpy(np.stack([data == v for v in values]))[None] for data in (prediction, reference)]
    del prediction, reference
    shared: dict[str, Any] = {"include_background": True, "spacing": SPACING}
    start = time.perf_counter()
    dice = compute_dice(*pair)
    hd95 = compute_hausdorff_distance(*pair, percentile=95, **shared)
    nsd = compute_surface_dice(*pair, class_thresholds=[TOLERANCE] * len(ORGANS), use_subvoxels=True, **shared)
    seconds = time.perf_counter() - start
    return seconds, torch.stack([dice[0], hd95[0], nsd[0]], dim=1).tolist()


def run_surface_distance(
    prediction: NDArray[np.uint8], reference: NDArray[np.uint8]
) -> tuple[float, list[list[float]]]:
    from scipy import ndimage

    # surface-distance 0.1 speaks of names that numpy 2 and scipy 1.15 dropped.
    for module, name, value in (
        (np, "NaN", np.nan),
        (np, "Inf", np.inf),
        (ndimage, "filters", ndimage),
        (ndimage, "morphology", ndimage),
    ):
        if not hasattr(module, name):
            setattr(module, name, value)
    import surface_distance as sd  # type: ignore[import-untyped]

    values = range(1, len(ORGANS) + 1)
    pairs = [(prediction == v, reference == v) for v in values]
    del prediction, reference
    start = time.perf_counter()
    rows = []
    for mask, truth in pairs:
        distances = sd.compute_surface_distances(truth, mask, SPACING)
        rows.append(
            [
                sd.compute_dice_coefficient(truth, mask),
                sd.compute_robust_hausdorff(distances, 95),
                sd.compute_surface_dice_at_tolerance(distances, TOLERANCE),
            ]
        )
    return time.perf_counter() - start, rows


RUNNERS = {"ours": run_ours, "monai": run_monai, "surface-distance": run_surface_distance}


def child(name: str, shape: tuple[int, int, int]) -> None:
    """Measure one package in this process and print the result as JSON."""
    warnings.simplefilter("ignore")
    prediction, reference = make(shape, 1), make(shape, 2)
    # The peak before the clock starts is the masks, the packages and what made them.
    seconds, rows = RUNNERS[name](prediction, reference)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "peak_gib": peak, "rows": rows}))


def main() -> None:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 200))
    parser.add_argument("--child", choices=RUNNERS)
    arguments = parser.parse_args()
    shape = tuple(arguments.shape)
    if arguments.child:
        child(arguments.child, shape)
        return
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in RUNNERS}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--shape", *map(str, shape), "--child"]
    for pair in range(arguments.pairs):
        for name in RUNNERS:
            done = subprocess.run([*command, name], capture_output=True, text=True, env=environment, check=True)
            results[name].append(json.loads(done.stdout.splitlines()[-1]))
        line = "  ".join(f"{name} {results[name][-1]['seconds']:.3f} s" for name in RUNNERS)
        print(f"pair {pair + 1}: {line}", flush=True)
    print(f"\n{len(ORGANS)} organs in {shape}, spacing {SPACING} mm: Dice, HD95 and surface Dice at {TOLERANCE} mm")
    print(f"{'package':<18}{'median s':>10}{'times ours':>12}{'peak GiB':>10}")
    mine = [run["seconds"] for run in results["ours"]]
    for name, runs in results.items():
        seconds = [run["seconds"] for run in runs]
        ratio = statistics.median(theirs / our for theirs, our in zip(seconds, mine, strict=True))
        peak = max(run["peak_gib"] for run in runs)
        print(f"{name:<18}{statistics.median(seconds):>10.3f}{ratio:>12.1f}{peak:>10.2f}")
    ours, theirs, third = (np.array(results[name][0]["rows"]) for name in RUNNERS)
    print(f"\nlargest difference to monai: {np.abs(ours - theirs).max():.2g}")
    print(f"largest difference to surface-distance (Dice, surface Dice): {np.abs(ours - third)[:, [0, 2]].max():.2g}")


if __name__ == "__main__":
    main()
