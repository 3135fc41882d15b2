"""MR series to volumes on disk: ``organseg ingest`` beside ``dcm2niix -z y``, pair by pair.

    python tests/benchmarks/ingest_series.py [--series 54] [--pairs 5] [--level 6]

The series are made on the spot: 24 slices of 256², smooth anatomy with noise, each in a folder of its own. Both get all
of them in one call, alternating. Printed are wall seconds, processor seconds and the megabytes written.
"""

from __future__ import annotations

import argparse
import importlib.util
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


def measured(command: list[str], out: Path) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and megabytes of a command that writes to a fresh folder."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, spent, sum(p.stat().st_size for p in out.rglob("*.nii.gz")) / 1e6


def main() -> None:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--series", type=int, default=54)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--level", type=int, default=6, help="dcm2niix's compression level; 6 is its own choice")
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        source, ours, theirs = (Path(name) / part for part in ("in", "ours", "theirs"))
        make(source, asked.series)
        for _ in range(asked.pairs):
            mine = measured([sys.executable, "-m", "pipeline", "ingest", str(source), "--out", str(ours)], ours)
            command = ["dcm2niix", "-z", "y", f"-{asked.level}", "-b", "n", "-f", "%s", "-o", str(theirs), str(source)]
            rows.append((mine, measured(command, theirs)))
            counts = [len(list(folder.rglob("*.nii.gz"))) for folder in (ours, theirs)]
            if counts != [asked.series] * 2:
                raise SystemExit(f"volumes written: {counts}, wanted {asked.series}")
    print(f"{asked.series} series of 24 slices, dcm2niix -z y -{asked.level}")
    print("pair   ours s   (cpu)     MB   dcm2niix s   (cpu)     MB   ratio")
    for number, (mine, other) in enumerate(rows, 1):
        print(
            f"{number:4d} {mine[0]:8.2f} {mine[1]:7.2f} {mine[2]:6.1f} {other[0]:12.2f} {other[1]:7.2f} {other[2]:6.1f}"
            f" {mine[0] / other[0]:7.2f}"
        )
    print(f"median ratio {statistics.median(mine[0] / other[0] for mine, other in rows):.2f}")


if __name__ == "__main__":
    main()
