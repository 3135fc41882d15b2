"""Provenance: what made these figures, from which inputs, how long it took, and how to make them again."""

from __future__ import annotations

import csv
import importlib.metadata
import platform
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.core.files import digest_of
from pipeline.core.shards import rows_digest
from pipeline.inference.champion import WEIGHTS
from pipeline.report.data import Gathered
from pipeline.report.text import DASH, duration

PACKAGES = (
    *("numpy", "scipy", "scikit-image", "nibabel", "pydicom"),
    *("SimpleITK", "monai", "mlflow", "snakemake", "altair"),
)
STAGES = ("demo", "ingest", "rle", "plan", "preprocess", "train", "predict", "evaluate", "select", "export")


def shown(gathered: Gathered) -> dict[str, Any]:
    """Versions, seeds, hashes, times and the command."""
    champion, draws = gathered.champion, gathered.test or gathered.oof
    digests = {"config": gathered.study.digest()}
    if (rows := rows_digest(gathered.paths)) is not None:
        digests["manifest, as it was read"] = rows[:12]
    digests["scans.csv"] = digest_of(gathered.scans)
    digests |= {f"plan of {name}": plan.digest() for name, plan in gathered.plans.items()}
    if champion:
        for one in champion.members:
            weights = champion.files.get(f"{one.folder}/{WEIGHTS}", DASH)
            digests[f"weights of {one.model}, fold {one.fold}"] = weights[:16]
    return {
        "digests": digests,
        "backend": champion and champion.backend,
        "parity": max(champion.backend.parity.values(), default=None) if champion else None,
        "bootstrap": draws and draws.facts["bootstrap"],
        "checks": Counter(row["status"] for row in gathered.checks),
        "versions": _versions(gathered),
        "stages": _stages(gathered.paths.results / "benchmarks"),
        "trainings": [[f"training {t.model}, fold {t.fold}", duration(t.seconds)] for t in gathered.trainings],
    }


def _versions(gathered: Gathered) -> dict[str, str]:
    found: dict[str, str] = {"organseg": __version__, "Python": platform.python_version()}
    for one in gathered.trainings:
        found |= {f"{name} (training)": str(version) for name, version in one.start.get("versions", {}).items()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _stages(folder: Path) -> list[list[str]]:
    """Jobs, wall time and memory of each stage, where the workflow measured them."""
    stages: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for path in sorted(folder.glob("*.tsv")):
        measured = _benchmark(path)
        if measured is not None:
            stages[path.stem.split("-")[0]].append(measured)
    return [
        [stage, str(len(jobs)), duration(sum(s for s, _ in jobs)), f"{max(memory for _, memory in jobs):,.0f} MB"]
        for stage in STAGES
        if (jobs := stages.get(stage))
    ]


def _benchmark(path: Path) -> tuple[float, float] | None:
    """Seconds and largest resident memory in MB from a benchmark of Snakemake's; ``None`` where it says none."""
    with open(path, encoding="utf-8", newline="") as handle:
        cells = next(csv.DictReader(handle, delimiter="\t"), {})
    try:
        return float(cells["s"]), float(cells["max_rss"])
    except (KeyError, TypeError, ValueError):
        return None
