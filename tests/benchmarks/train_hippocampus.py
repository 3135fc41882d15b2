"""Dice of the default U-Net on hippocampus volumes for a budget of minutes, or of steps where the machine is shared.

``ORGANSEG_DATA=… python tests/benchmarks/train_hippocampus.py [--minutes 5] [--steps N] [--threads 2] [--test]``
ingests, plans, prepares and trains in a folder of its own (kept with ``--work FOLDER``, where a second run resumes),
and prints Dice per organ: of the validation fold, by which alone anything may be chosen, and with ``--test`` of the
fifth of the patients that was set aside, with a bootstrap interval over patients.

``--folds K`` cross-validates: the minutes are shared by K trainings, ``--jobs`` of them at a time with ``--threads``
each, and the test is that of the mean of their probabilities, as a champion of folds says it. ``--steps`` are a fold's.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("ORGANSEG_TRACKING", "offline")

from pipeline.core.files import read_json, read_table
from pipeline.core.manifest import load_manifest, manifest_path
from pipeline.core.paths import StudyPaths
from pipeline.core.shards import write_shards
from pipeline.core.splits import by_part, read_splits
from pipeline.core.study import Study, data_root, load_study
from pipeline.formats.store import read_labels, read_scan

ROOT = Path(__file__).resolve().parents[2]
DRAWS = 2000


def study_of(name: str, model: str, changes: dict[str, Any], budget: dict[str, Any], folds: int = 1) -> Study:
    """A study of the repository with one model, its budget, and as many folds."""
    study = load_study(name, ROOT)
    split = study.split.model_dump() | {"folds": folds}
    return Study.model_validate(study.model_dump() | {"models": {model: changes}, "budget": budget, "split": split})


def prepare_study(
    name: str, root: Path, model: str, changes: dict[str, Any], budget: dict[str, Any], folds: int = 1
) -> tuple[Study, StudyPaths]:
    """Ingest and plan a study of the repository in a folder of its own; what is there already is kept."""
    from pipeline import ingest, plan, preprocess

    study = study_of(name, model, changes, budget, folds)
    paths = StudyPaths(name, root)
    if not paths.scans_csv.is_file():
        manifest_path(name, root).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(manifest_path(name, ROOT), manifest_path(name, root))
        write_shards(paths, study, load_manifest(manifest_path(name, ROOT), study), data_root(study, ROOT))
        for shard in range(study.ingest.shards):
            ingest.run_shard(study, paths, shard)
        ingest.gather(study, paths)
    plan.run(study, paths, print)
    preprocess.run(study, paths, model, say=print)
    return study, paths


def train_fold(study: Study, paths: StudyPaths, model: str, fold: int, threads: int | None) -> float:
    """Train one fold in a process of its own; gives its processor seconds."""
    from pipeline import train

    train.run(study, paths, model, fold, threads=threads, say=lambda line: print(line, flush=True))
    return time.process_time()


def dice_of_test(paths: StudyPaths, model: str, folds: int = 1) -> tuple[list[str], dict[str, list[list[float]]]]:
    """Dice of each organ on the scan's own grid, patient by patient, for the test patients; of the folds' mean."""
    import torch

    from pipeline.core.labels import LabelMap
    from pipeline.imaging.preprocessing import decide, prepare
    from pipeline.imaging.resampling import resample
    from pipeline.inference.model_files import load_model
    from pipeline.inference.sliding_window import predict_probabilities
    from pipeline.metrics.overlap import dice

    networks = [load_model(paths.model(model, fold))[0] for fold in range(folds)]
    _, plan, _ = load_model(paths.model(model, 0))
    rows = by_part(read_table(paths.scans_csv), read_splits(paths.splits), "test")
    found: dict[str, list[list[float]]] = {}
    for row in rows:
        scan = read_scan(paths.scan(row["shard"], row["scan_id"]))
        reference = read_labels(paths.mask(row["shard"], row["scan_id"]))
        prepared = prepare(scan, plan)
        image, mirror = torch.from_numpy(prepared.image), bool(plan.mirror_axes)
        chances = sum(predict_probabilities(network, image, plan, mirror=mirror).numpy() for network in networks)
        data = decide(resample(chances / folds, prepared.source.shape), plan)
        mask = LabelMap(data, reference.affine, reference.organs, plan.overlapping, reference.annotated)
        found.setdefault(row["patient_id"], []).append([dice(mask.mask(o), reference.mask(o)) for o in plan.organs])
    return list(plan.organs), found


def interval(patients: list[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over patients."""
    draw = np.random.default_rng(0)
    values = np.array(patients)
    means = values[draw.integers(len(values), size=(DRAWS, len(values)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def report(paths: StudyPaths, model: str, folds: int, spent: str, opened: bool) -> None:
    """Print the table."""
    facts = [read_json(paths.model(model, fold) / "model.json")["facts"] for fold in range(folds)]
    print(f"\n{model}: {' + '.join(str(fold['steps']) for fold in facts)} steps, {spent}")
    print("| part | organ | Dice | 95 % interval |\n|---|---|---|---|")
    for fold, own in enumerate(facts):
        for name, value in own["validation"].items():
            organ = name.removeprefix("dice_") if name != "dice" else "mean"
            print(f"| validation, fold {fold} | {organ} | {value:.4f} | |")
    if not opened:
        return
    organs, found = dice_of_test(paths, model, folds)
    table = np.array([np.nanmean(rows, axis=0) for rows in found.values()])
    for organ, column in [*zip(organs, table.T, strict=True), ("mean", table.mean(axis=1))]:
        low, high = interval(column.tolist())
        print(f"| test, {len(table)} patients | {organ} | {column.mean():.4f} | {low:.4f} to {high:.4f} |")


def main(study_name: str = "hippocampus", model: str = "unet") -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", default=study_name)
    parser.add_argument("--model", default=model)
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float)
    budget.add_argument("--steps", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="folds trained at a time")
    parser.add_argument("--test", action="store_true", help="open the test patients")
    parser.add_argument("--work", type=Path, help="folder to work in, kept")
    given = parser.parse_args()
    if not Path(os.environ.get("ORGANSEG_DATA", "")).is_dir() or "ORGANSEG_DATA" not in os.environ:
        sys.exit("ORGANSEG_DATA names no folder")

    with tempfile.TemporaryDirectory() as temporary:
        root = (given.work or Path(temporary)).resolve()
        rounds = -(-given.folds // given.jobs)
        chosen = {"steps": given.steps} if given.steps else {"minutes": (given.minutes or 5.0) / rounds}
        study, paths = prepare_study(given.study, root, given.model, {}, chosen, given.folds)
        start = time.perf_counter()
        with ProcessPoolExecutor(given.jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
            running = [
                pool.submit(train_fold, study, paths, given.model, fold, given.threads) for fold in range(given.folds)
            ]
            computed = sum(one.result() for one in running)
        wall = time.perf_counter() - start
        spent = f"{wall / 60:.1f} minutes of wall clock, {computed / 60:.1f} of CPU"
        report(paths, given.model, given.folds, spent, given.test)


if __name__ == "__main__":
    main()
