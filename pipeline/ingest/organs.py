"""How many scans have each organ, lack it, and were not looked at: before any work, and after ingestion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import InputError
from pipeline.core.manifest import Row
from pipeline.core.study import Study
from pipeline.formats.worker import KilledError, Worker

#: Masks of so many scans are opened by `organseg manifest check` unless it is told otherwise.
MOST_OPENED = 200


@dataclass(frozen=True)
class Looked:
    """What is known of one scan with masks.

    Attributes:
        annotated: Organs that somebody looked for.
        present: Those of them that are there.
    """

    annotated: frozenset[str]
    present: frozenset[str]

    @classmethod
    def of(cls, cells: Mapping[str, Any]) -> Looked:
        """From a row of ``scans.csv``."""
        annotated, present = (frozenset(str(cells[name] or "").split(";")) - {""} for name in ("annotated", "organs"))
        return cls(annotated, present & annotated)


def organ_lines(study: Study, scans: Sequence[Looked]) -> list[str]:
    """A line for each organ, and what follows where no scan has it or none is without it.

    Args:
        study: The study.
        scans: All scans with masks.
    """
    lines = []
    for organ in study.organs:
        looked = sum(organ in scan.annotated for scan in scans)
        have = sum(organ in scan.present for scan in scans)
        line = f"{organ}: {have} have it, {looked - have} lack it, {len(scans) - looked} were not looked at for it"
        if scans and not have:
            line += "; nothing can be learned or measured of it without a scan that has it"
        elif scans and looked == have:
            line += "; false alarms cannot be measured without a scan that lacks it"
        lines.append(line)
    return lines


def look(study: Study, rows: Sequence[Row], data: Path) -> tuple[list[Looked], list[tuple[Row, str]]]:
    """Open the masks of rows, one by one in a process that can be killed.

    Returns:
        What is known of those that can be read, and the others with the reason.
    """
    found: list[Looked] = []
    bad: list[tuple[Row, str]] = []
    text = study.model_dump_json()
    with Worker(study.ingest.seconds, study.ingest.memory_gib) as worker:
        for row in rows:
            try:
                answer = worker.call(
                    "pipeline.ingest.one:look_at_row", {"row": row.fields(), "study": text, "data": str(data)}
                )
            except (KilledError, InputError) as error:
                bad.append((row, error.what))
                continue
            if "reason" in answer:
                bad.append((row, answer["reason"]))
            else:
                found.append(Looked(frozenset(answer["annotated"]), frozenset(answer["present"])))
    return found, bad


def by_manifest(rows: Sequence[Row]) -> tuple[list[Looked], int]:
    """What the manifest alone says: an organ with a file counts as present.

    Returns:
        That, and how many rows have one mask of all organs, of which it says nothing.
    """
    known = [row for row in rows if not row.mask]
    return [Looked(row.drawn | row.absent, row.drawn) for row in known], len(rows) - len(known)
