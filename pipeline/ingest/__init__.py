"""Ingestion: manifest rows become scans with true geometry and label maps, or rejected rows with their reasons."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.core.columns import scan_columns
from pipeline.core.errors import InputError
from pipeline.core.files import read_json, read_table, write_json, write_table
from pipeline.core.manifest import Manifest, Row, load_manifest, manifest_path
from pipeline.core.paths import StudyPaths
from pipeline.core.say import Say, quiet
from pipeline.core.shards import read_shard
from pipeline.core.study import Study, data_root
from pipeline.formats.worker import KilledError, Worker
from pipeline.ingest.cohort import cohort_findings
from pipeline.ingest.organs import Looked, organ_lines
from pipeline.ingest.reasons import rejection

REJECTED = ("scan_id", "patient_id", "line", "code", "reason")
_FACTS = "facts.json"
_ONE = "pipeline.ingest.one"


def columns(study: Study, extra: tuple[str, ...] = ()) -> list[str]:
    """Columns of ``scans.csv``.

    Raises:
        InputError: A column of the manifest has the name of one that ingestion fills in.
    """
    own = scan_columns(study.organs, readers=study.ingest.readers is not None)
    taken = sorted(set(own) & set(extra))
    if taken:
        raise InputError(
            f"the manifest has a column {taken[0]!r}, which ingestion fills in itself", remedy="Rename the column."
        )
    return [*own, *extra]


def run_shard(study: Study, paths: StudyPaths, shard: int, say: Say = quiet) -> None:
    """Ingest the scans of one shard.

    A row that cannot be read is listed in the shard's ``rejected.csv``; the others go on. Neither tables nor ``say``,
    which a workflow writes to its log, name the source's files.
    """
    importlib.import_module(_ONE)  # here and not in each worker that is started
    rows = read_shard(paths.shard_manifest(shard), load_manifest(manifest_path(paths.study, paths.root), study))
    data = str(data_root(study, paths.root))
    text = study.model_dump_json()
    header = columns(study, tuple(rows[0].extra) if rows else ())
    good: list[list[Any]] = []
    facts: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    kept: set[str] = set()
    with Worker(study.ingest.seconds, study.ingest.memory_gib) as worker:
        for row in rows:
            scan, mask = paths.scan(shard, row.scan_id), paths.mask(shard, row.scan_id)
            answer = _one(worker, row, text, data, scan, mask)
            if "cells" in answer:
                good.append(_in_columns(header, answer["cells"], shard))
                facts.append(answer["facts"])
                kept |= {str(scan), str(mask)} if row.labelled else {str(scan)}
            else:
                bad.append({"scan_id": row.scan_id, "patient_id": row.patient_id, "line": row.line, **answer})
                say(f"rejected {row.scan_id} (line {row.line} of the manifest): {answer['reason']}")
    for folder in (paths.scan(shard, "x").parent, paths.mask(shard, "x").parent, paths.ingest(shard)):
        _clear(folder, kept)
    folder = paths.ingest(shard)
    write_table(folder / "scans.csv", (dict(zip(header, cells, strict=True)) for cells in good), header)
    write_table(folder / "rejected.csv", bad, REJECTED)
    write_json(folder / _FACTS, facts)
    say(f"shard {shard}: {len(good)} scans ingested, {len(bad)} rejected")


def _in_columns(header: Sequence[str], cells: Mapping[str, Any], shard: int) -> list[Any]:
    """Cells in the order of the header; a list of ten thousand rows takes a third of the memory of their dicts."""
    whole = {**cells, "shard": shard, "findings": json.dumps(cells["findings"], ensure_ascii=False)}
    return [whole.get(name) for name in header]


def _clear(folder: Path, kept: set[str]) -> None:
    """Remove what a former run, perhaps a killed one, left behind."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        if str(file) not in kept:
            file.unlink()


def _one(worker: Worker, row: Row, study: str, data: str, scan: Path, mask: Path) -> Mapping[str, Any]:
    try:
        answer: Mapping[str, Any] = worker.call(
            f"{_ONE}:ingest_row",
            {"row": row.fields(), "study": study, "data": data, "scan_file": str(scan), "mask_file": str(mask)},
        )
        return answer
    except KilledError as error:
        return rejection("killed", error, row)
    except InputError as error:
        return rejection("unreadable", error, row)


def gather(study: Study, paths: StudyPaths, say: Say = quiet) -> None:
    """Join the shards into ``scans.csv`` and ``rejected.csv``, with the findings that only the cohort shows.

    Raises:
        InputError: The rows of the manifest are not those of the shards.
    """
    manifest = load_manifest(manifest_path(paths.study, paths.root), study)
    good: dict[str, dict[str, Any]] = {}
    facts: dict[str, dict[str, Any]] = {}
    bad: dict[str, dict[str, Any]] = {}
    for shard in range(study.ingest.shards):
        folder = paths.ingest(shard)
        good |= {row["scan_id"]: row for row in read_table(folder / "scans.csv")}
        bad |= {row["scan_id"]: row for row in read_table(folder / "rejected.csv")}
        facts |= {fact["scan_id"]: fact for fact in read_json(folder / _FACTS)}
    scans = [good[row.scan_id] for row in manifest.rows if row.scan_id in good]
    channels = _odd_channels(scans)
    for scan_id, reason in channels.items():
        row = good.pop(scan_id)
        bad[scan_id] = {"scan_id": scan_id, "patient_id": row["patient_id"], "code": "channels", "reason": reason}
    scans = [row for row in scans if row["scan_id"] in good]
    rejected = _in_order(manifest, bad)
    _check_count(manifest, scans, rejected)
    more = cohort_findings(study, scans, [facts[row["scan_id"]] for row in scans])
    for row, findings in zip(scans, more, strict=True):
        row["findings"] = ";".join([*json.loads(row["findings"]), *(str(finding) for finding in findings)])
    for part in (*paths.results.glob(".part-*-scans.csv"), *paths.results.glob(".part-*-rejected.csv")):
        part.unlink()
    write_table(paths.rejected_csv, rejected, REJECTED)
    write_table(paths.scans_csv, scans, columns(study, manifest.extra_columns))
    warned = sum(bool(row["findings"]) for row in scans)
    say(f"{len(scans)} scans ingested, {warned} of them with findings; {len(rejected)} rejected")
    for line in organ_lines(study, [Looked.of(row) for row in scans if str(row["labelled"]) == "1"]):
        say(line)


def _odd_channels(scans: list[dict[str, Any]]) -> dict[str, str]:
    """Scans with another number of channels than most have, and why they cannot go on."""
    counts = [row["channels"] for row in scans]
    if len(set(counts)) < 2:
        return {}
    usual = max(sorted(set(counts)), key=counts.count)
    return {
        row["scan_id"]: f"the image has {row['channels']} channels and most of the study's have {usual}"
        for row in scans
        if row["channels"] != usual
    }


def _in_order(manifest: Manifest, bad: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rejected rows in the order of the manifest."""
    lines = [(row.line, {**bad[row.scan_id], "line": row.line}) for row in manifest.rows if row.scan_id in bad]
    lines += [(row.line, asdict(row)) for row in manifest.bad]
    return [cells for _, cells in sorted(lines, key=lambda pair: pair[0])]


def _check_count(manifest: Manifest, scans: list[dict[str, Any]], rejected: list[dict[str, Any]]) -> None:
    given = len(manifest.rows) + len(manifest.bad)
    if given != len(scans) + len(rejected):
        raise InputError(
            f"the manifest has {given} rows, and {len(scans)} scans were ingested and {len(rejected)} rejected",
            remedy="The manifest changed meanwhile: run the ingestion of all shards again.",
        )
