"""The stage ``export``: the champion's predictions in the formats of the people who asked, each read back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.core.errors import InputError
from pipeline.core.files import read_table, write_table
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.scan import Scan
from pipeline.core.splits import read_splits
from pipeline.core.study import Study
from pipeline.export.checks import COLUMNS, Tolerance, compare, expected
from pipeline.export.forms import Job, export_scan, export_tables
from pipeline.export.readers import read_nnunet_organs
from pipeline.formats.store import read_labels, read_scan
from pipeline.mechanics.champion import read_champion

Row = dict[str, Any]


def run(study: Study, paths: StudyPaths, *, say: Callable[[str], None] = lambda line: None) -> None:
    """Write the champion's predictions as the study asks, and ``checks.csv`` with a row a scan, format and organ.

    Args:
        study: The study.
        paths: Its places.
        say: Takes a line of progress.

    Raises:
        InputError: Something that was read back differs from what was predicted. All else is written by then.
    """
    out = paths.exports
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    champion = read_champion(paths.champion_yaml)
    job = Job(study, champion.name, paths.study, out)
    predicted = read_table(paths.predictions("test", "champion") / "predictions.csv")
    places = {row["scan_id"]: row["shard"] for row in read_table(paths.scans_csv)}
    names = [row["scan_id"] for row in predicted if row["status"] == "ok"]
    rows: list[Row] = []

    def each() -> Iterator[tuple[str, Scan, LabelMap]]:
        for name in names:
            scan = read_scan(paths.scan(places[name], name))
            yield name, scan, read_labels(paths.predictions("test", "champion") / f"{name}.nii.gz")

    for name, scan, labels in each():
        rows += export_scan(job, name, scan, labels)
    rows += export_tables(job, each)
    if "nnunet" in study.export.formats:
        rows += _write_nnunet(study, paths, out, say)
    write_table(out / "checks.csv", rows, COLUMNS)
    failed = [row for row in rows if row["status"] == "failed"]
    for row in failed:
        say(f"{row['scan_id']}, {row['format']}: {row['reason']}")
    say(f"{len(names)} scans exported as {', '.join(study.export.formats)}; {len(rows) - len(failed)} checks agree")
    if failed:
        raise InputError(
            f"{len(failed)} of {len(rows)} checks differ from what was predicted when files are read back",
            where=str(out / "checks.csv"),
            remedy="Do not use these files.",
        )


def _write_nnunet(study: Study, paths: StudyPaths, out: Path, say: Callable[[str], None]) -> list[Row]:
    """All scans of the study with the readers' masks; the test's go where nnU-Net expects what it does not train on."""
    from pipeline.formats.nnunet_raw import NnunetFolder

    splits = read_splits(paths.splits) if paths.splits.is_file() else {}
    name = "".join(letter if letter.isalnum() else "_" for letter in paths.study)
    folder = NnunetFolder(out / "nnunet" / f"Dataset001_{name}", study.organ_names(), study.overlapping)
    count = 0
    labelled: dict[str, str] = {}
    for row in read_table(paths.scans_csv):
        scan_id, patient = row["scan_id"], row["patient_id"]
        if row["labelled"] == "1":
            labelled[scan_id] = row["shard"]
        test = scan_id not in labelled or (patient in splits and splits[patient].split == "test")
        scan = read_scan(paths.scan(row["shard"], scan_id))
        labels = read_labels(paths.mask(row["shard"], scan_id)) if scan_id in labelled else None
        folder.add(scan_id, scan, labels, training=not test)
        count += 1
    folder.close()
    say(f"{count} scans as an nnU-Net raw folder")
    rows: list[Row] = []
    for scan_id, shard in labelled.items():
        labels = read_labels(paths.mask(shard, scan_id))
        read = read_nnunet_organs(folder.folder, scan_id)
        rows += compare(scan_id, "nnunet", expected(labels), read, labels, Tolerance())
    return rows
