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
from pipeline.export.forms import FORMS, Job, export_scan, export_tables, failed_row
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
        InputError: Not one file agrees with what was predicted. Otherwise what differs is moved to ``failed/`` and
            said, and all else stands.
    """
    out = paths.exports
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    champion = read_champion(paths.champion_yaml)
    job = Job(study, champion.name, paths.study, out)
    predicted = read_table(paths.predictions("test", "champion") / "predictions.csv")
    places = {row["scan_id"]: row["shard"] for row in read_table(paths.scans_csv)}
    names: list[str] = []
    unread: list[Row] = []
    rows: list[Row] = []

    def both(name: str) -> tuple[Scan, LabelMap]:
        scan = read_scan(paths.scan(places[name], name))
        return scan, read_labels(paths.predictions("test", "champion") / f"{name}.nii.gz")

    def each() -> Iterator[tuple[str, Scan, LabelMap]]:
        for name in names:
            yield name, *both(name)

    for name in (row["scan_id"] for row in predicted if row["status"] == "ok"):
        try:
            scan, labels = both(name)
        except InputError as error:
            unread += [failed_row(name, form, error.what) for form in study.export.formats]
            continue
        names.append(name)
        rows += export_scan(job, name, scan, labels)
    _set_aside(out, rows)  # before the sheets, which show what lies there
    shared = export_tables(job, each)
    if "nnunet" in study.export.formats:
        shared += _write_nnunet(study, paths, out, say)
    _set_aside(out, shared)
    rows += shared + unread
    write_table(out / "checks.csv", rows, COLUMNS)
    failed = [row for row in rows if row["status"] == "failed"]
    for row in failed:
        say(f"{row['scan_id']}, {row['format']}: {row['reason']}")
    say(f"{len(names)} scans exported as {', '.join(study.export.formats)}; {len(rows) - len(failed)} checks agree")
    if failed:
        say(f"{len(failed)} of {len(rows)} checks differ from what was predicted; these files lie in {out / 'failed'}")
    if failed and len(failed) == len(rows):
        raise InputError(
            f"{len(failed)} of {len(rows)} checks differ from what was predicted when files are read back",
            where=str(out / "checks.csv"),
            remedy="Do not use these files.",
        )


def _set_aside(out: Path, rows: list[Row]) -> None:
    """Move files that failed to ``failed/``, so that nobody takes them for results; of shared files the whole form."""
    folders: dict[str, str] = {"stl": "surfaces", "ply": "surfaces"}
    for form, scan_id in sorted(
        {(str(row["format"]), str(row["scan_id"])) for row in rows if row["status"] == "failed"}
    ):
        folder = out / folders.get(form, form)
        own = [path for path in folder.glob("*") if path.name == scan_id or path.name.startswith(f"{scan_id}.")]
        for path in own if form in FORMS or form in folders else [folder]:
            if path.exists():
                target = out / "failed" / path.relative_to(out)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(path, target)


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
