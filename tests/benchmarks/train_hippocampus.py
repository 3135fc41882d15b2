"""Dice of the default U-Net on hippocampus volumes for a budget of minutes, or of steps where the machine is shared.

``ORGANSEG_DATA=… python tests/benchmarks/train_hippocampus.py [--minutes 5] [--steps N] [--threads 2] [--test]``
ingests, plans, prepares and trains in a folder of its own (kept with ``--work FOLDER``, where a second run resumes),
and prints Dice per organ: of the validation fold, by which alone anything may be chosen, and with ``--test`` of the
fifth of the patients that was set aside, with a bootstrap interval over patients.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
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


def prepare_study(
    name: str, root: Path, model: str, changes: dict[str, Any], budget: dict[str, Any]
) -> tuple[Study, StudyPaths]:
    """Ingest and plan a study of the repository in a folder of its own; what is there already is kept."""
    from pipeline import ingest, plan, preprocess

    study = load_study(name, ROOT)
    values = study.model_dump() | {"models": {model: changes}, "budget": budget}
    study = Study.model_validate(values)
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


def dice_of_test(paths: StudyPaths, model: str) -> tuple[list[str], dict[str, list[list[float]]]]:
    """Dice of each organ on the scan's own grid, patient by patient, for the test patients."""
    import torch

    from pipeline.core.labels import LabelMap
    from pipeline.mechanics.metrics import dice
    from pipeline.mechanics.model_files import load_model
    from pipeline.mechanics.preprocessing import decide, prepare, restore
    from pipeline.mechanics.sliding_window import predict_probabilities

    network, plan, _ = load_model(paths.model(model, 0))
    rows = by_part(read_table(paths.scans_csv), read_splits(paths.splits), "test")
    found: dict[str, list[list[float]]] = {}
    for row in rows:
        scan = read_scan(paths.scan(row["shard"], row["scan_id"]))
        reference = read_labels(paths.mask(row["shard"], row["scan_id"]))
        prepared = prepare(scan, plan)
        chances = predict_probabilities(network, torch.from_numpy(prepared.image), plan, mirror=bool(plan.mirror_axes))
        data = decide(restore(chances.numpy(), prepared), plan)
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


def report(paths: StudyPaths, model: str, seconds: float, opened: bool) -> None:
    """Print the table."""
    facts = read_json(paths.model(model, 0) / "model.json")["facts"]
    spent = f"{seconds / 60:.1f} minutes of wall clock, {time.process_time() / 60:.1f} of CPU"
    print(f"\n{model}: {facts['steps']} steps, {spent}")
    print("| part | organ | Dice | 95 % interval |\n|---|---|---|---|")
    for name, value in facts["validation"].items():
        print(f"| validation | {name.removeprefix('dice_') if name != 'dice' else 'mean'} | {value:.4f} | |")
    if not opened:
        return
    organs, found = dice_of_test(paths, model)
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
    parser.add_argument("--test", action="store_true", help="open the test patients")
    parser.add_argument("--work", type=Path, help="folder to work in, kept")
    given = parser.parse_args()
    if not Path(os.environ.get("ORGANSEG_DATA", "")).is_dir() or "ORGANSEG_DATA" not in os.environ:
        sys.exit("ORGANSEG_DATA names no folder")
    from pipeline import train

    with tempfile.TemporaryDirectory() as temporary:
        root = given.work or Path(temporary)
        chosen = {"steps": given.steps} if given.steps else {"minutes": given.minutes or 5.0}
        study, paths = prepare_study(given.study, root.resolve(), given.model, {}, chosen)
        start = time.perf_counter()
        train.run(study, paths, given.model, 0, threads=given.threads, say=lambda line: print(line, flush=True))
        report(paths, given.model, time.perf_counter() - start, given.test)


if __name__ == "__main__":
    main()
