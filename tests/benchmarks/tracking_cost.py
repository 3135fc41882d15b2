"""What tracking costs the steps of a training: the thread that delivers them, and the pictures of its validations.

``python tests/benchmarks/tracking_cost.py [--pairs 6] [--seconds 40] [--core 0]``: a U-Net on phantom
radiographs, one thread, trained in turn without MLflow (``ORGANSEG_TRACKING=offline``) and with it (``auto``, the
embedded store). Times are those of all steps with their validations. Ratios are formed within a pair, whose order
changes from pair to pair; the figure is their median.

Other work on the machine stretches both, and the ratios scatter; the processor time that goes into pictures hardly
depends on it. MLflow is loaded after six minutes of training: ``--first 5`` has it loaded and fed in a short one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HERE))

from pipeline import plan, preprocess  # noqa: E402
from pipeline.core.paths import StudyPaths  # noqa: E402
from pipeline.core.study import Study  # noqa: E402
from pipeline.tracking import background  # noqa: E402
from tests.train.studies import chest_config, chest_study  # noqa: E402

TRAINING = """
import json, sys, time
from contextlib import contextmanager
from pathlib import Path
from pipeline import train
from pipeline.core.paths import StudyPaths
from pipeline.tracking import background
from pipeline.train import loop
from tests.benchmarks.tracking_cost import study_of
marks, pictures, ways = [], [], []
background.FIRST = float(sys.argv[3])
follow = train.follow
steps, draw, keep = loop.Loop.run, loop.draw_scan, loop.Loop._keep_picture
def timed(work):
    def run(*given):
        began = time.process_time()
        done = work(*given)
        pictures.append(time.process_time() - began)
        return done
    return run
def mark():
    marks.append((time.perf_counter(), time.process_time()))
def run(self, stop):
    mark()
    steps(self, stop)
    mark()
@contextmanager
def following(*given):
    inner = follow(*given)
    began = time.perf_counter()
    inner.__enter__()
    entered = time.perf_counter()
    yield
    left = time.perf_counter()
    inner.__exit__(None, None, None)
    ways.extend((entered - began, time.perf_counter() - left))
loop.Loop.run, loop.draw_scan, loop.Loop._keep_picture = run, timed(draw), timed(keep)
train.follow = following
train.run(study_of(int(sys.argv[2])), StudyPaths("chest", Path(sys.argv[1])), "unet", 0, threads=1, device="cpu")
print(json.dumps({
    "wall": marks[1][0] - marks[0][0],
    "processor": marks[1][1] - marks[0][1],
    "pictures": sum(pictures),
    "enter": ways[0],
    "leave": ways[1],
}))
"""


def study_of(steps: int) -> Study:
    """The study: small pictures and a small network make many steps a second, which is the hard case here."""
    small = {"size": [64, 64], "batch": 4, "network": {"features": [16, 32, 64]}}
    return chest_config(models={"unet": {"plan": small}}, budget={"steps": steps})


def prepare(root: Path, steps: int) -> None:
    """Scans, splits, plan and prepared scans."""
    study, paths = study_of(steps), StudyPaths("chest", root)
    if not paths.scans_csv.is_file():
        chest_study(root, 80)
    plan.run(study, paths)
    preprocess.run(study, paths, "unet", threads=1)


def trained(root: Path, steps: int, tracking: str, first: float) -> dict[str, float]:
    """Times of one training from its beginning; the store keeps what earlier ones delivered."""
    for name in ("checkpoints", "models"):
        shutil.rmtree(root / "results" / "chest" / name, ignore_errors=True)
    environment: dict[str, Any] = {**os.environ, "ORGANSEG_TRACKING": tracking, "PYTHONPATH": str(HERE)}
    environment["OMP_NUM_THREADS"] = "1"
    environment.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(
        [sys.executable, "-c", TRAINING, str(root), str(steps), str(first)],
        env=environment,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def middle(values: list[float], form: str, unit: str = "") -> str:
    """Median, with the least and the most."""
    low, high = (format(one, form) for one in (min(values), max(values)))
    return f"{statistics.median(values):{form}}{unit} ({low} to {high})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--first", type=float, default=background.FIRST, help="Seconds before the first delivery.")
    parser.add_argument("--core", type=int, help="The one processor to run on.")
    given = parser.parse_args()
    if given.core is not None:
        os.sched_setaffinity(0, {given.core})
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepare(root, 40)
        # Makes the store too, which is no part of a training's cost.
        trial = trained(root, 40, "auto", given.first)
        steps = max(round(40 * given.seconds / trial["processor"]), 40)
        prepare(root, steps)
        pairs = []
        for number in range(given.pairs):
            order = ("offline", "auto") if number % 2 else ("auto", "offline")
            pairs.append({tracking: trained(root, steps, tracking, given.first) for tracking in order})
            print(f"pair {number + 1}: {json.dumps(pairs[-1])}", file=sys.stderr, flush=True)
    alone, followed = ([pair[tracking] for pair in pairs] for tracking in ("offline", "auto"))
    length = statistics.median(one["processor"] for one in alone)
    place = "" if given.core is None else f" on processor {given.core}"
    print(f"{steps} steps, {length:.0f} processor seconds, one thread{place}, {given.pairs} pairs\n")
    print("| of the steps' time | median (least to most) |\n|---|---|")
    for name, what in (("processor time of the training", "processor"), ("wall clock", "wall")):
        ratios = [100 * (two[what] / one[what] - 1) for one, two in zip(alone, followed, strict=True)]
        print(f"| followed, than not: {name} | {middle(ratios, '+.2f', ' %')} |")
    shares = [100 * one["pictures"] / one["processor"] for one in alone + followed]
    print(f"| processor time of the pictures, of the training's | {middle(shares, '.2f', ' %')} |")
    for name, what in (("before the first step", "enter"), ("after the last one", "leave")):
        print(f"| waiting for the delivery {name} | {middle([one[what] for one in followed], '.2f', ' s')} |")


if __name__ == "__main__":
    main()
