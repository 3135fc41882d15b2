"""Scans larger than memory: the same answer slab by slab, and bounded memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import InputError
from pipeline.core.plan import Plan
from pipeline.core.scan import Scan
from pipeline.imaging.preprocessing import prepare
from pipeline.imaging.resampling import resample
from pipeline.inference.large import chunks, prepare_within, restore_rows
from tests.predict.plans import make_plan

RULES = [
    {"name": "percentile_zscore"},
    {"name": "zscore_foreground", "region": "head"},
    {"name": "ct_window", "low": -100, "high": 200, "mean": 30, "deviation": 40},
]


def scan_of(shape: tuple[int, int, int], seed: int = 0) -> Scan:
    voxels = np.random.default_rng(seed).normal(20, 60, (1, *shape)).astype(np.float32)
    return Scan(voxels, np.diag([1.0, 1.5, 2.0, 1.0]), "mri")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["name"])
@pytest.mark.parametrize("spacing", [None, [1.6, 1.2, 2.0]])
def test_prepared_in_slabs_is_prepared(rule: dict, spacing: list[float] | None) -> None:
    plan = make_plan(normalisation=rule, spacing=spacing)
    scan = scan_of((30, 20, 12))
    whole, parts = prepare(scan, plan), prepare_within(scan, plan, room=0)
    assert isinstance(parts.image, np.memmap)
    assert parts.grid.same_place(whole.grid)
    np.testing.assert_allclose(parts.image, whole.image, atol=2e-4)


@settings(max_examples=20, deadline=None)
@given(
    size=st.tuples(*[st.integers(3, 14)] * 3), factor=st.tuples(*[st.floats(0.4, 2.5)] * 3), start=st.integers(0, 10)
)
def test_restored_rows_are_restored(size: tuple[int, int, int], factor: tuple[float, float, float], start: int) -> None:
    plan = make_plan(spacing=[1.0 * factor[0], 1.5 * factor[1], 2.0 * factor[2]])
    prepared = prepare(scan_of(size), plan)
    p = np.random.default_rng(0).uniform(size=(2, *prepared.grid.shape)).astype(np.float32)
    rows = slice(min(start, size[0] - 1), min(start + 3, size[0]))
    np.testing.assert_allclose(
        restore_rows(p, size, rows, room=0), resample(p, prepared.source.shape)[:, rows], atol=1e-5
    )


def test_chunks_cover_all_rows() -> None:
    array = np.broadcast_to(np.float32(0), (3, 100, 1024, 600))
    rows = [i for part in chunks(array) for i in range(part.start, part.stop)]
    assert rows == list(range(100))


def test_a_wrong_kind_is_refused_before_any_work() -> None:
    plan: Plan = make_plan(spatial_dims=2, patch=[8, 8])
    with pytest.raises(InputError, match="needs a picture"):
        prepare_within(scan_of((8, 8, 8)), plan, room=0)


HUGE = """
import sys, threading, time
from pathlib import Path
import numpy as np
from pipeline.core.scan import Scan
from pipeline.inference.postprocessing import OrganSteps
from pipeline.inference.predictor import Predictor
from tests.predict.plans import make_plan

peak = 0
def watch():
    global peak
    while True:
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = max(peak, next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")))
        time.sleep(0.05)
threading.Thread(target=watch, daemon=True).start()

shape = (1024, 1024, 600)
voxels = np.zeros((1, *shape), np.int16)
for x in range(shape[0]):
    voxels[0, x] = x % 200
voxels[0, 300:700, 300:600, 100:400] += 1000
scan = Scan(voxels, np.diag([0.5, 0.5, 0.5, 1]), "ct", "patient")
rule = {"name": "ct_window", "low": 0, "high": 1200, "mean": 600, "deviation": 300}
plan = make_plan(patch=[128, 128, 128], overlap=0.25, normalisation=rule, organs=["a"], mirror_pairs=[])

def forward(batch):
    inside = 1 / (1 + np.exp(-6 * batch[:, :1]))
    return np.concatenate([1 - inside, inside], 1)

steps = {"a": OrganSteps(largest_component=True)}
found = Predictor([(plan, forward)], steps=steps, batch=1).predict(scan)
box = found.labels.mask("a")
right = int(box[300:700, 300:600, 100:400].sum())
print(right == 400 * 300 * 300, int(box.sum()) - right, round(peak / 2**20, 2))
"""


@pytest.mark.slow
def test_a_huge_volume_within_six_gib(root: Path) -> None:
    """1024×1024×600 voxels; memory that is not backed by a file is watched while they are predicted."""
    done = subprocess.run([sys.executable, "-c", HUGE], capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stderr
    right, wrong, gib = done.stdout.split()
    assert (right, wrong) == ("True", "0")
    assert float(gib) < 6
