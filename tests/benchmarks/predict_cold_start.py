"""One scan from a cold start to files written, beside the bare import of PyTorch, pair by pair.

    python tests/benchmarks/predict_cold_start.py SCAN MODEL [--pairs 7]

SCAN is any scan that MODEL, a champion's folder, takes. Printed are wall and processor seconds, medians of the pairs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time


def measure(command: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of a command."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, spent


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan")
    parser.add_argument("model")
    parser.add_argument("--pairs", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "organseg predict": [
                sys.executable, "-m", "pipeline", "predict", arguments.scan, "--model", arguments.model, "--out", out,
            ],
        }  # fmt: skip
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(arguments.pairs):
            for name, command in commands.items():
                times[name].append(measure(command))
    print(f"{'':18}{'wall s':>8}{'cpu s':>8}")
    for name, pairs in times.items():
        wall, spent = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{name:18}{wall:8.2f}{spent:8.2f}")
    ratios = [a[0] / b[0] for a, b in zip(times["organseg predict"], times["import torch"], strict=True)]
    print(f"ratio, median of pairs: {statistics.median(ratios):.2f} (at most 1.5 wanted)")


if __name__ == "__main__":
    main()
