"""Killed at any moment and run again, the result is that of a run nobody disturbed."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest

SCRIPT = """
import sys
from pathlib import Path
from pipeline import ingest
from pipeline.core.paths import StudyPaths
from pipeline.core.study import load_study
root = Path(sys.argv[1])
study, paths = load_study("small", root), StudyPaths("small", root)
for shard in range(study.ingest.shards):
    ingest.run_shard(study, paths, shard)
ingest.gather(study, paths)
"""


def digests(folder):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.*")}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_sigkill_at_random_moments(small, root, seed):
    for i in range(10):
        small.chest(f"s{i}", i)
    small.add("absent", "nowhere.png")
    small.run()
    wanted = digests(small.paths.results)
    command = [sys.executable, "-c", SCRIPT, str(small.root)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    start = time.monotonic()
    subprocess.run(command, env=environment, check=True)
    whole = time.monotonic() - start
    draw = random.Random(seed)
    for _ in range(8):
        process = subprocess.Popen(command, env=environment)
        time.sleep(draw.uniform(0.3, 1.0) * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in small.paths.results.rglob("*.nii.gz"):
            name = str(path.relative_to(small.paths.results))
            assert path.name.startswith(".part-") or hashlib.sha256(path.read_bytes()).hexdigest() == wanted[name]
    subprocess.run(command, env=environment, check=True)
    assert digests(small.paths.results) == wanted
    scans, rejected = small.tables()
    assert len(scans) + len(rejected) == len(small.rows)
