"""Memory of ingestion against the number of rows: it must be flat but for the rows themselves.

python tests/benchmarks/ingest_memory.py [--rows 100 1000 10000]

Each count runs in a process of its own on one shard; all rows name a few small pictures. Peak memory is that of the
stage and of its worker.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
SCRIPT = """
import resource, sys
from pathlib import Path
from pipeline import ingest
from pipeline.core.paths import StudyPaths
from pipeline.core.study import load_study
root = Path(sys.argv[1])
study, paths = load_study("many", root), StudyPaths("many", root)
ingest.run_shard(study, paths, 0)
ingest.gather(study, paths)
peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(*(f"{peak:.0f}" for peak in peaks))
"""


def study_of(root: Path, rows: int) -> None:
    """A study whose rows share eight pictures."""
    from pipeline.core.manifest import load_manifest, manifest_path
    from pipeline.core.paths import StudyPaths
    from pipeline.core.shards import write_shards
    from pipeline.core.study import data_root, load_study

    (root / "configs").mkdir()
    (root / "data_manifests").mkdir()
    (root / "source").mkdir()
    config = "modality: xray\norgans: [heart]\ndata_root: source\ningest: {shards: 1}\n"
    (root / "configs" / "many.yaml").write_text(config)
    draw = np.random.default_rng(0)
    for number in range(8):
        Image.fromarray(draw.integers(0, 255, (64, 64)).astype(np.uint8)).save(root / "source" / f"{number}.png")
    lines = [f"s{i},p{i % 8},{i % 8}.png" for i in range(rows)]
    (root / "data_manifests" / "many.csv").write_text("\n".join(["scan_id,patient_id,image", *lines, ""]))
    study, paths = load_study("many", root), StudyPaths("many", root)
    write_shards(paths, study, load_manifest(manifest_path("many", root), study), data_root(study, root))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[100, 1000, 10000])
    print("  rows   seconds   stage MiB   worker MiB")
    for rows in parser.parse_args().rows:
        with tempfile.TemporaryDirectory() as name:
            study_of(Path(name), rows)
            start = time.perf_counter()
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            run = subprocess.run(
                [sys.executable, "-c", SCRIPT, name], env=environment, check=True, capture_output=True, text=True
            )
            stage, worker = run.stdout.split()
            print(f"{rows:6d} {time.perf_counter() - start:9.1f} {stage:>11s} {worker:>12s}")


if __name__ == "__main__":
    main()
