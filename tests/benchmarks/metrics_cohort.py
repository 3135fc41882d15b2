"""Time of evaluating a cohort of 1,000 scans, spread over shards that run side by side.

``python tests/benchmarks/metrics_cohort.py [--scans 1000] [--shards 8] [--jobs 2] [--shape 128 128 64]``. Each shard is
a process of its own, started as the workflow starts it; masks and predictions are drawn and stored before the clock
starts.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pipeline.core.files import write_table  # noqa: E402
from pipeline.core.labels import LabelMap  # noqa: E402
from pipeline.core.paths import StudyPaths  # noqa: E402
from pipeline.core.shards import shard_of  # noqa: E402
from pipeline.core.splits import COLUMNS  # noqa: E402
from pipeline.core.study import parse_study  # noqa: E402
from pipeline.formats.store import write_labels  # noqa: E402

ORGANS = ("first", "second", "third")
CODE = (
    "import sys; from pathlib import Path; from pipeline.core.paths import StudyPaths; "
    "from pipeline.core.study import parse_study; from pipeline import evaluate; "
    "study = parse_study({config!r}, 'bench'); paths = StudyPaths('bench', Path(sys.argv[1])); "
)


def draw(shape: tuple[int, int, int], seed: int) -> LabelMap:
    """Three ellipsoids that move a little with the seed."""
    rng = np.random.default_rng(seed)
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    data = np.zeros(shape, np.uint8)
    for value, centre in enumerate((0.25, 0.5, 0.75), 1):
        middle = np.array([centre, 0.5, 0.5]) * shape + rng.normal(0, 1, 3)
        parts = [((g - m) / (h * n)) ** 2 for g, m, h, n in zip(grid, middle, (0.11, 0.3, 0.3), shape, strict=True)]
        data[sum(parts) < 1] = value
    return LabelMap(data, np.diag([1.0, 1.0, 2.0, 1.0]), ORGANS, False, frozenset(ORGANS))


def write_cohort(paths: StudyPaths, scans: int, shards: int, shape: tuple[int, int, int]) -> None:
    """Store masks and predictions; all patients are test, but for one that the baseline is made from."""
    rows, splits = [], []
    drawn = [draw(shape, seed) for seed in range(20)]
    for number in range(scans + 1):
        name = f"s{number:05d}"
        shard = shard_of(name, shards)
        write_labels(paths.mask(shard, name), drawn[number % 20])
        write_labels(paths.predictions("test", "unet") / f"{name}.nii.gz", drawn[(number + 7) % 20])
        development = number == scans
        splits.append(
            {"patient_id": name, "split": "development" if development else "test", "fold": "0" if development else ""}
        )
        rows.append(
            {
                "scan_id": name,
                "patient_id": name,
                "shard": shard,
                "labelled": 1,
                "annotated": ";".join(ORGANS),
                "spacing_source": "patient",
                "spacing_x": 1,
                "spacing_y": 1,
                "spacing_z": 2,
            }
        )
    champion = paths.predictions("test", "champion")
    champion.symlink_to(paths.predictions("test", "unet").resolve())
    write_table(paths.scans_csv, rows, [*rows[0]])
    write_table(paths.splits, splits, COLUMNS)


def main() -> None:
    """Draw the cohort, measure it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=1000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--shape", type=int, nargs=3, default=(128, 128, 64))
    arguments = parser.parse_args()
    config = {"modality": "mri", "organs": list(ORGANS), "models": ["unet"], "ingest": {"shards": arguments.shards}}
    parse_study(config, "bench")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        x, y, z = arguments.shape
        write_cohort(StudyPaths("bench", Path(folder)), arguments.scans, arguments.shards, (x, y, z))

        def run(call: str) -> None:
            code = CODE.format(config=config) + call
            subprocess.run([sys.executable, "-c", code, folder], check=True, env=environment)

        start = time.perf_counter()
        with ThreadPoolExecutor(arguments.jobs) as pool:
            list(pool.map(lambda k: run(f"evaluate.run_shard(study, paths, 'test', {k})"), range(arguments.shards)))
        measured = time.perf_counter()
        run("evaluate.gather(study, paths, 'test')")
        end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
    print(f"{arguments.scans} scans of {x} × {y} × {z}, 3 organs, 2 models and the baseline, {arguments.shards} shards")
    print(f"{arguments.jobs} jobs: shards {measured - start:.1f} s, tables {end - measured:.1f} s")
    print(f"{1000 * (measured - start) / arguments.scans:.1f} ms a scan; largest process {peak:.0f} MiB")


if __name__ == "__main__":
    main()
