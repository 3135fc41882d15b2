"""What a study holds and how far it is, and what a scan is, as tables on the terminal."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from pipeline.core.files import read_table
from pipeline.core.manifest import load_manifest, manifest_path
from pipeline.core.paths import StudyPaths
from pipeline.core.splits import read_splits
from pipeline.core.study import Study, load_study

if TYPE_CHECKING:
    from collections.abc import Iterable

NOTHING_YET = "not made yet"


def describe_study(name: str) -> None:
    """Print a study's scans, findings, split, figures and which stages are done."""
    study = load_study(name)
    paths = StudyPaths(name)
    console = Console()
    console.print(f"[bold]{name}[/]  {study.title}", highlight=False)
    console.print(f"{study.modality}; organs: {', '.join(study.organs)}; models: {', '.join(study.models)}")
    if manifest_path(name).exists():
        manifest = load_manifest(manifest_path(name), study)
        patients = len({row.patient_id for row in manifest.rows})
        console.print(f"manifest: {len(manifest.rows)} scans of {patients} patients")
    console.print(_stages(paths, study))
    if paths.rejected_csv.exists():
        _print_rejected(console, paths)
    if paths.scans_csv.exists():
        _print_findings(console, paths)
    if paths.splits.exists():
        splits = read_splits(paths.splits).values()
        test = sum(place.split == "test" for place in splits)
        validating = sum(place.fold is not None for place in splits)
        console.print(
            f"split: {test} test patients, {len(splits) - test} development patients, {validating} of them validating"
        )
    summary = paths.metrics("test") / "summary.csv"
    if summary.exists():
        console.print(_figures(read_table(summary)))


def _stages(paths: StudyPaths, study: Study) -> Table:
    marks = {
        "ingest": paths.scans_csv,
        "rle": paths.masks_rle,
        "plan": paths.splits,
        "preprocess": paths.results / "preprocessed",
        "train": paths.results / "models",
        "predict": paths.results / "predictions",
        "evaluate": paths.metrics("test") / "summary.csv",
        "select": paths.champion_yaml,
        "export": paths.exports,
        "report": paths.report,
    }
    table = Table("stage", "result", title=None)
    for stage, mark in marks.items():
        table.add_row(stage, str(mark) if mark.exists() else NOTHING_YET, style=None if mark.exists() else "dim")
    return table


def _print_rejected(console: Console, paths: StudyPaths) -> None:
    rows = read_table(paths.rejected_csv)
    console.print(f"rejected: {len(rows)}")
    for row in rows:
        console.print(f"  {row['scan_id']} (line {row['line']}): {row['reason']}", highlight=False)


def _print_findings(console: Console, paths: StudyPaths) -> None:
    rows = read_table(paths.scans_csv)
    found = [(row["scan_id"], finding.strip()) for row in rows for finding in row["findings"].split(";")]
    found = [(scan, finding) for scan, finding in found if finding]
    kinds = Counter(finding.split(":")[0] for _, finding in found)
    console.print(f"ingested: {len(rows)}; findings: {', '.join(f'{n} {k}' for k, n in kinds.items()) or 'none'}")
    for scan, finding in found:
        console.print(f"  {scan}: {finding}", highlight=False)


def _figures(rows: Iterable[dict[str, str]]) -> Table:
    table = Table("model", "organ", "Dice", "95 % interval", "patients", title="test patients")
    for row in rows:
        if row["metric"] == "dice" and not row.get("group"):
            interval = f"{float(row['low']):.3f} to {float(row['high']):.3f}" if row["low"] else ""
            mean = f"{float(row['mean']):.3f}" if row["mean"] else ""
            table.add_row(row["model"], row["organ"], mean, interval, row["n_patients"])
    return table


def describe_scan(path: Path) -> None:
    """Print size, spacing, orientation and grey values of the scans in a file or folder, and what was passed over.

    Raises:
        InputError: Nothing is there, or no scan that can be read.
    """
    from pipeline.core.errors import InputError
    from pipeline.core.study import Ingest
    from pipeline.formats.table import read_scans
    from pipeline.ingest.quality import measure_scan, scan_findings

    if not path.exists():
        raise InputError("the file does not exist", where=str(path))
    console, read = Console(), 0
    for found in read_scans(path, None, Ingest()):
        table = Table("", "", title=f"{found.source.name}: {found.kind}", show_header=False)
        if found.read is None:
            table.add_row("passed over", found.reason)
        else:
            try:
                scan = found.read()
            except InputError as error:
                table.add_row("cannot be read", error.what)
            else:
                read += 1
                measured = measure_scan(scan)
                table.add_row("lengths", f"{scan.unit}, from {scan.spacing_source}")
                for key, value in {**measured, **scan.notes}.items():
                    table.add_row(str(key), str(value))
                for finding in scan_findings(scan, measured):
                    table.add_row("finding", str(finding))
        console.print(table)
    if not read:
        raise InputError("holds no scan that can be read", where=str(path))
