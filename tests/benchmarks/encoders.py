"""Dice of networks from scratch and from ImageNet on chest radiographs, with few and with all labels.

``ORGANSEG_DATA=… python tests/benchmarks/encoders.py [--arms unet effnet] [--most 1] [--work FOLDER]`` takes the next
trainings that have no row in ``encoders.csv`` beside this file, each of 15 minutes or less, and appends a row for each;
``--table`` prints what is there, paired by patient. A fifth of the patients is set aside and never looked at here
(``train_xray.py --test`` opens it); all figures are of validation folds.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from train_hippocampus import interval, prepare_study

from pipeline.core.files import read_json, read_table, write_table
from pipeline.core.paths import StudyPaths
from pipeline.core.splits import fold_sides, read_splits

TABLE = Path(__file__).with_suffix(".csv")
STUDY = "chest_xray"
FOLDS = 2
#: Arm → network and what its plan sets.
ARMS: dict[str, dict[str, Any]] = {
    "unet": {"network": "unet"},
    "effnet": {"network": "unet_effnet_lite0", "plan": {"network": {"weights": "imagenet"}}},
    "effnet_scratch": {"network": "unet_effnet_lite0"},
}
#: Labelled scans to train on (0: all) and minutes.
SETTINGS = ((16, 5.0), (0, 15.0))
COLUMNS = ("arm", "labels", "minutes", "fold", "steps", "dice", "by_organ", "by_scan", "threads", "machine")


@dataclass(frozen=True)
class Run:
    """One training."""

    arm: str
    labels: int
    minutes: float
    fold: int

    @property
    def key(self) -> tuple[str, str, str, str]:
        """As its row names it."""
        return self.arm, str(self.labels), f"{self.minutes:g}", str(self.fold)


def rows() -> list[dict[str, str]]:
    """What was run already."""
    if not TABLE.is_file():
        return []
    with open(TABLE, newline="") as file:
        return list(csv.DictReader(file))


def waiting(arms: list[str]) -> list[Run]:
    """Trainings that have no row yet, folds of one setting together."""
    done = {(row["arm"], row["labels"], row["minutes"], row["fold"]) for row in rows()}
    wanted = [Run(arm, labels, minutes, fold) for labels, minutes in SETTINGS for fold in range(FOLDS) for arm in arms]
    return [run for run in wanted if run.key not in done]


def train(run: Run, root: Path, threads: int) -> dict[str, Any]:
    """Train once and validate on the fold's patients."""
    from pipeline import train as stage

    study, paths = prepare_study(STUDY, root, run.arm, ARMS[run.arm], {"minutes": run.minutes}, FOLDS)
    keep_few(paths, run)
    stage.run(study, paths, run.arm, run.fold, threads=threads, say=lambda line: print(line, flush=True))
    facts = read_json(paths.model(run.arm, run.fold) / "model.json")["facts"]
    organs, scans = dice_of_fold(study, paths, run)
    means = {organ: float(np.nanmean([dice[i] for dice in scans.values()])) for i, organ in enumerate(organs)}
    return {
        "arm": run.arm,
        "labels": run.labels,
        "minutes": f"{run.minutes:g}",
        "fold": run.fold,
        "steps": facts["steps"],
        "dice": f"{np.mean(list(means.values())):.4f}",
        "by_organ": json.dumps({organ: round(value, 4) for organ, value in means.items()}),
        "by_scan": json.dumps({scan: round(float(np.nanmean(dice)), 4) for scan, dice in scans.items()}),
        "threads": threads,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def keep_few(paths: StudyPaths, run: Run) -> None:
    """Leave the first ``labels`` scans of the training side, in the order of their ids, and all to validate on."""
    table = read_table(paths.scans_csv)
    if not run.labels:
        return
    training, _ = fold_sides(table, read_splits(paths.splits), run.fold)
    left_out = {row["scan_id"] for row in sorted(training, key=lambda row: row["scan_id"])[run.labels :]}
    write_table(paths.scans_csv, [row for row in table if row["scan_id"] not in left_out], list(table[0]))


def dice_of_fold(study: Any, paths: StudyPaths, run: Run) -> tuple[list[str], dict[str, list[float]]]:
    """Dice of each organ on each scan of the validation side, on the scan's own grid."""
    from pipeline.formats.store import read_labels, read_scan
    from pipeline.inference.predictor import open_folds
    from pipeline.metrics.overlap import dice

    predictor = open_folds([paths.model(run.arm, run.fold)])
    _, validation = fold_sides(read_table(paths.scans_csv), read_splits(paths.splits), run.fold)
    found: dict[str, list[float]] = {}
    for row in validation:
        reference = read_labels(paths.mask(row["shard"], row["scan_id"]))
        labels = predictor.predict(read_scan(paths.scan(row["shard"], row["scan_id"]))).labels
        found[row["scan_id"]] = [dice(labels.mask(organ), reference.mask(organ)) for organ in study.organ_names()]
    return list(study.organ_names()), found


def table() -> None:
    """Print each setting's arms, and their differences from the first, paired by scan."""
    settings: dict[tuple[str, str], dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows():
        settings[row["labels"], row["minutes"]][row["arm"]] |= json.loads(row["by_scan"])
    print("| labels | minutes | arm | scans | Dice | against the first arm |\n|---|---|---|---|---|---|")
    for (labels, minutes), arms in settings.items():
        first = next(iter(arms.values()))
        for arm, scans in arms.items():
            apart = [value - first[scan] for scan, value in scans.items() if scan in first]
            low, high = interval(apart)
            against = "" if scans is first else f"{np.mean(apart):+.4f} ({low:+.4f} to {high:+.4f})"
            mean = np.mean(list(scans.values()))
            print(
                f"| {labels if labels != '0' else 'all'} | {minutes} | {arm} | {len(scans)} | {mean:.4f} | {against} |"
            )


def main() -> None:
    """Run what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arms", nargs="+", choices=sorted(ARMS), default=list(ARMS))
    parser.add_argument("--most", type=int, default=100, help="trainings at the most")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, help="folder to work in, kept")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.table:
        table()
        return
    if not Path(os.environ.get("ORGANSEG_DATA", "")).is_dir() or "ORGANSEG_DATA" not in os.environ:
        sys.exit("ORGANSEG_DATA names no folder")
    for run in waiting(given.arms)[: given.most]:
        with tempfile.TemporaryDirectory() as temporary:
            base = (given.work or Path(temporary)).resolve()
            row = train(run, base / "-".join(run.key), given.threads)
        new = not TABLE.is_file()
        with open(TABLE, "a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(
            {name: row[name] for name in ("arm", "labels", "minutes", "fold", "steps", "dice", "by_organ")}, flush=True
        )


if __name__ == "__main__":
    main()
