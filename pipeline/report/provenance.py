"""Provenance: what made these figures, from which inputs, how long it took, and how to make them again."""

from __future__ import annotations

import importlib.metadata
import platform
from collections import Counter, defaultdict
from pathlib import Path

from pipeline import __version__
from pipeline.core.files import digest_of
from pipeline.core.manifest import manifest_path
from pipeline.report.data import Gathered
from pipeline.report.html import DASH, Html, details, element, join, section, table
from pipeline.report.training import duration

PACKAGES = (
    "numpy",
    "scipy",
    "scikit-image",
    "nibabel",
    "pydicom",
    "SimpleITK",
    "monai",
    "mlflow",
    "snakemake",
    "altair",
)


def provenance_section(gathered: Gathered) -> Html:
    """Versions, seeds, hashes, times and the command."""
    name = gathered.paths.study
    command = f"snakemake --cores 8 --config study={name}"
    return section(
        "provenance",
        "Provenance",
        element("p", join(["Made again by ", element("code", command), ", this page alone by ",
                           element("code", f"organseg report --study {name}"), "."])),
        table(("what", "value"), _identity(gathered), caption="Inputs, hashes and seeds"),
        details("Versions", table(("package", "version"), _versions(gathered), caption="Versions"), printed=True),
        _times(gathered),
        element("p", "Not a medical device: for research and teaching only.", class_="note"),
    )  # fmt: skip


def _identity(gathered: Gathered) -> list[list[object]]:
    study, paths = gathered.study, gathered.paths
    rows: list[list[object]] = [["config", element("code", study.digest())]]
    manifest = manifest_path(paths.study, paths.root)
    if manifest.is_file():
        rows.append(["manifest", element("code", digest_of(manifest.read_text(encoding="utf-8-sig")))])
    rows.append(["scans.csv", element("code", digest_of(gathered.scans))])
    rows += [[f"plan of {name}", element("code", plan.digest())] for name, plan in gathered.plans.items()]
    champion = gathered.champion
    if champion is not None:
        rows += [
            [f"weights of {m.model}, fold {m.fold}", element("code", m.weights[:16] or DASH)] for m in champion.members
        ]
        backend = champion.backend
        worst = max(backend.parity.values(), default=None)
        apart = "" if worst is None else f", probabilities within {worst:.2g} of PyTorch's"
        rows.append(["champion runs on", element("span", f"{backend.name}, {backend.precision}{apart}")])
    draws = gathered.test or gathered.oof
    seeds = f"split {study.split.seed}, training {study.seed}"
    if draws is not None:
        seeds += f", bootstrap {draws.facts['bootstrap']['seed']} ({draws.facts['bootstrap']['draws']:,} draws)"
    if study.demo is not None:
        seeds += f", phantoms {study.demo.seed}"
    rows.append(["seeds", element("span", seeds)])
    if gathered.checks:
        states = Counter(row["status"] for row in gathered.checks)
        said = f"{states['ok'] + states['failed']} checks, {states['failed']} failed"
        if states["not checked"]:
            said += f"; {states['not checked']} could not be made"
        rows.append(["exports read back", element("span", said)])
    return rows


def _versions(gathered: Gathered) -> list[list[object]]:
    found: dict[str, str] = {"organseg": __version__, "Python": platform.python_version()}
    for one in gathered.trainings:
        found |= {f"{name} (training)": str(version) for name, version in one.start.get("versions", {}).items()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return [[name, element("code", version)] for name, version in found.items()]


def _times(gathered: Gathered) -> Html:
    """Wall time and memory of each stage, where the workflow measured them."""
    stages: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for path in sorted((gathered.paths.results / "benchmarks").glob("*.tsv")):
        measured = _benchmark(path)
        if measured is not None:
            stages[path.stem.split("-")[0]].append(measured)
    rows: list[list[object]]
    if stages:
        order = ("demo", "ingest", "rle", "plan", "preprocess", "train", "predict", "evaluate", "select", "export")
        rows = [
            [
                stage,
                str(len(jobs)),
                duration(sum(seconds for seconds, _ in jobs)),
                f"{max(memory for _, memory in jobs):,.0f} MB",
            ]
            for stage in order
            if (jobs := stages.get(stage))
        ]
        head = ("stage", "jobs", "time, summed", "most memory of a job")
        return table(head, rows, caption="What it took", note="Measured by Snakemake.")
    rows = [[f"training {one.model}, fold {one.fold}", duration(one.seconds)] for one in gathered.trainings]
    return table(("stage", "time"), rows, caption="What it took") if rows else Html("")


def _benchmark(path: Path) -> tuple[float, float] | None:
    """Seconds and largest resident memory in MB from a benchmark of Snakemake's; ``None`` where it says none."""
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    if len(lines) < 2:
        return None
    cells = dict(zip(lines[0], lines[1], strict=False))
    try:
        return float(cells["s"]), float(cells["max_rss"])
    except (KeyError, ValueError):
        return None
