"""The stage ``export``: the champion's predictions in the formats of the people who asked, each read back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.core.files import read_table, write_table
from pipeline.core.labels import LabelMap
from pipeline.core.names import below
from pipeline.core.paths import StudyPaths
from pipeline.core.say import Say, quiet
from pipeline.core.scan import Scan
from pipeline.core.study import Study
from pipeline.export import probabilities
from pipeline.export.bids import FORM, bids_names
from pipeline.export.checks import COLUMNS, Check, failed_row
from pipeline.export.forms import Job, export_scan, export_tables
from pipeline.export.nnunet import write_nnunet
from pipeline.formats.store import read_labels, read_scan
from pipeline.inference.champion import read_champion

#: What a scan's own file is called after its id.
ENDINGS = (".nii.gz", ".png")


def run(study: Study, paths: StudyPaths, *, say: Say = quiet) -> None:
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
    scans = read_table(paths.scans_csv)
    names_in_bids = (
        bids_names({row["scan_id"]: row["patient_id"] for row in scans}) if FORM in study.export.formats else {}
    )
    job = Job(study, champion.name, paths.study, out, names_in_bids)
    found = paths.predictions("test", "champion")
    predicted = read_table(found / "predictions.csv")
    places = {row["scan_id"]: row["shard"] for row in scans}
    names: list[str] = []
    unread: list[Check] = []
    rows: list[Check] = []

    def both(name: str) -> tuple[Scan, LabelMap]:
        scan = read_scan(paths.scan(places[name], name))
        return scan, read_labels(below(found, f"{name}.nii.gz"))

    def each() -> Iterator[tuple[str, Scan, LabelMap]]:
        for name in names:
            yield name, *both(name)

    for name in (row["scan_id"] for row in predicted if row["status"] == "ok"):
        try:
            scan, labels = both(name)
        except InputError as error:
            # The raw folder for nnU-Net holds readers' masks: it reads for itself.
            unread += [failed_row(name, form, error.what) for form in study.export.formats if form != "nnunet"]
            continue
        names.append(name)
        rows += export_scan(job, name, scan, labels)
        if probabilities.FORM in study.export.formats:
            kept = below(found, probabilities.FORM, f"{name}.nii.gz")
            try:
                rows += probabilities.export_probabilities(out, kept, name, scan, labels, champion.postprocessing)
            except InputError as error:
                rows.append(failed_row(name, probabilities.FORM, error.what))
    _set_aside(out, rows)  # before the sheets, which show what lies there
    rows += export_tables(job, each)
    if "nnunet" in study.export.formats:
        rows += write_nnunet(study, paths, out, say)
    rows += unread
    write_table(out / "checks.csv", rows, COLUMNS)
    say(f"{len(names)} scans exported as {', '.join(study.export.formats)}")
    _sum_up(out, rows, say)


def _sum_up(out: Path, rows: list[Check], say: Say) -> None:
    """Say what differs.

    Raises:
        InputError: All of it does.
    """
    failed = [row for row in rows if row["status"] == "failed"]
    for row in failed:
        say(f"{row['scan_id']}, {row['format']}: {row['reason']}")
    say(f"{sum(row['status'] == 'ok' for row in rows)} checks agree")
    if unchecked := sum(row["status"] == "not checked" for row in rows):
        say(f"{unchecked} were not checked: checks.csv says why")
    if failed:
        say(f"{len(failed)} of {len(rows)} checks differ from what was predicted; these files lie in {out / 'failed'}")
    if failed and len(failed) == len(rows):
        raise InputError(
            f"{len(failed)} of {len(rows)} checks differ from what was predicted when files are read back",
            where=str(out / "checks.csv"),
            remedy="Do not use these files.",
        )


def _set_aside(out: Path, rows: list[Check]) -> None:
    """Move a scan's own files that failed to ``failed/``, so that nobody takes them for results."""
    for form, scan_id in sorted(
        {(str(row["format"]), str(row["scan_id"])) for row in rows if row["status"] == "failed"}
    ):
        folder = out / form
        for name in (scan_id, *(f"{scan_id}{ending}" for ending in ENDINGS)):
            wrong, target = below(folder, name), below(out, "failed", folder.name, name)
            if wrong.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(wrong, target)
