"""MR series to volumes on disk: ``organseg ingest`` beside ``dcm2niix -z y``, pair by pair.

    python tests/benchmarks/ingest_series.py [--series 54] [--pairs 5] [--levels 6 2]

The series are made on the spot: 24 slices of 256², smooth anatomy with noise, each in a folder of its own. Both get all
of them in one call, alternating. Printed are wall seconds, processor seconds and the megabytes written.

Levels of compression are dcm2niix's: 6 is its own choice, and 2 gives files as large as ours (ISA-L and zlib count
levels differently, so that equal size is what "the same level" can mean). dcm2niix packs in one thread, or in several
where ``pigz`` is installed; ours has a process a processor. ``--one-core`` pins both to one.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

ROOT = Path(__file__).parents[2]
OURS = [sys.executable, "-m", "pipeline", "ingest"]


def makers():
    """The makers of DICOM files that the tests use."""
    spec = importlib.util.spec_from_file_location("making", ROOT / "tests" / "formats" / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make(folder: Path, count: int) -> None:
    """Write the series."""
    making = makers()
    draw = np.random.default_rng(0)
    base = gaussian_filter(draw.normal(size=(256, 256, 24)), (8, 8, 2))
    base = (base - base.min()) / np.ptp(base)
    x, y, z = np.mgrid[-1:1:256j, -1:1:256j, -1:1:24j]
    anatomy = (base * 800 + 200) * (x**2 + y**2 + 0.3 * z**2 < 0.7)
    for number in range(count):
        volume = (anatomy + np.abs(draw.normal(0, 12, base.shape))).astype(np.uint16)
        affine = np.array([[0.9, 0, 0, -110], [0, 0.9, 0, -110], [0, 0, 5.5, -60], [0, 0, 0, 1]])
        slices = making.series(volume, affine, SeriesNumber=number + 1, ProtocolName=f"p{number}")
        making.save(folder / f"{number:03d}", slices, seed=number)


def measured(command: list[str], out: Path, environment: dict[str, str]) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and megabytes of a command that writes to a fresh folder."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=environment)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, spent, sum(p.stat().st_size for p in out.rglob("*.nii.gz")) / 1e6


def main() -> None:
    """Make the series and run the comparisons."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--series", type=int, default=54)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--levels", type=int, nargs="+", default=[6, 2], help="dcm2niix's compression levels")
    parser.add_argument("--one-core", action="store_true", help="pin both to one processor")
    asked = parser.parse_args()
    if asked.one_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cores, pigz = len(os.sched_getaffinity(0)), "with pigz" if shutil.which("pigz") else "without pigz"
    print(f"{asked.series} series of 24 slices, {cores} processors, dcm2niix {pigz}")
    with tempfile.TemporaryDirectory() as name:
        source, ours, theirs = (Path(name) / part for part in ("in", "ours", "theirs"))
        make(source, asked.series)
        # As installed: Python keeps what it has compiled, wherever this is started.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(Path(name) / "compiled")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        subprocess.run([*OURS, "--help"], check=True, capture_output=True, cwd=ROOT, env=environment)
        measured([*OURS, str(source / "000"), "--out", str(ours)], ours, environment)
        for level in asked.levels:
            compare(source, ours, theirs, asked.pairs, level, asked.series, environment)


def compare(
    source: Path, ours: Path, theirs: Path, pairs: int, level: int, series: int, environment: dict[str, str]
) -> None:
    """Run the pairs at one level of compression and print their table."""
    print(f"\ndcm2niix -z y -{level}")
    print("pair   ours s   (cpu)     MB   dcm2niix s   (cpu)     MB   ratio")
    ratios = []
    for number in range(1, pairs + 1):
        mine = measured([*OURS, str(source), "--out", str(ours)], ours, environment)
        command = ["dcm2niix", "-z", "y", f"-{level}", "-b", "n", "-f", "%s", "-o", str(theirs), str(source)]
        other = measured(command, theirs, environment)
        counts = [len(list(folder.rglob("*.nii.gz"))) for folder in (ours, theirs)]
        if counts != [series] * 2:
            raise SystemExit(f"volumes written: {counts}, wanted {series}")
        ratios.append(mine[0] / other[0])
        print(
            f"{number:4d} {mine[0]:8.2f} {mine[1]:7.2f} {mine[2]:6.1f} {other[0]:12.2f} {other[1]:7.2f} {other[2]:6.1f}"
            f" {ratios[-1]:7.2f}"
        )
    print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
