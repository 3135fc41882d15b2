"""What a command that works through scans shows and writes of each: rows, a table as it goes, or one JSON document."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.cli.console import on_terminal
from pipeline.core.labels import LabelMap
from pipeline.core.scan import Scan
from pipeline.core.units import size_unit, voxel_amount
from pipeline.quality.judge import Verdict

COLUMNS = ("scan_id", "organ", "status", "size", "unit", "verdict", "predicted_dice", "seconds", "findings")
SHOWN = 2  # findings of an organ on the terminal; the table has them all


@dataclass
class Outcome:
    """What became of one scan.

    Attributes:
        organs: A row an organ.
        reason: Why it failed, if it did; it may name the source.
    """

    name: str
    source: str
    seconds: float = 0.0
    organs: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""


def organ_rows(scan: Scan, labels: LabelMap, verdicts: Mapping[str, Verdict]) -> list[dict[str, Any]]:
    """A row an organ: its size with its unit, and its verdict."""
    amount = voxel_amount(labels.grid.spacing, scan.unit, flat=scan.is_flat)
    unit = size_unit(scan.unit, flat=scan.is_flat)
    rows = []
    for organ in labels.organs:
        verdict = verdicts.get(organ)
        rows.append(
            {
                "organ": organ,
                "status": "ok",
                "size": float(f"{np.count_nonzero(labels.mask(organ)) * amount:.6g}"),
                "unit": unit,
                "verdict": verdict.verdict if verdict else "",
                "predicted_dice": verdict.dice_text if verdict else "",
                "findings": "; ".join(verdict.reasons) if verdict else "",
            }
        )
    return rows


def table_rows(outcome: Outcome) -> list[dict[str, Any]]:
    """The table's rows of one scan, without anything that names its source."""
    shared = {"scan_id": outcome.name, "seconds": f"{outcome.seconds:.2f}"}
    if outcome.reason:
        reason = outcome.reason.replace(outcome.source, "the file")
        return [{**shared, "status": "failed", "verdict": "fail", "findings": reason}]
    return [{**shared, **row} for row in outcome.organs]


class Table:
    """What a person, or with ``--json`` a program, sees of the work as it goes."""

    WIDTHS = (24, 18, 12, 6, 8, 8)

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._headed = False

    def follow(self, outcomes: Iterable[Outcome], count: int) -> Iterator[Outcome]:
        """The outcomes, one by one; with a bar where a person looks on and there are several."""
        if count < 2 or self.as_json or not on_terminal():
            yield from outcomes
            return
        from rich.console import Console
        from rich.progress import track

        yield from track(outcomes, description="scans", total=count, console=Console(stderr=True), transient=True)

    def show(self, outcome: Outcome) -> None:
        """Print the rows of one scan."""
        if self.as_json:
            return
        if not self._headed:
            self._line("scan", "organ", "size", "", "verdict", "seconds", "findings")
            self._headed = True
        if outcome.name not in outcome.source:
            print(f"{outcome.name} is {outcome.source}", flush=True)
        if outcome.reason:
            self._line(outcome.name, "", "", "", "failed", f"{outcome.seconds:.2f}", outcome.reason)
        for row in outcome.organs:
            said = row["findings"].split("; ")
            findings = "; ".join(said[:SHOWN]) + (f"; {len(said) - SHOWN} more" if len(said) > SHOWN else "")
            size, seconds = f"{row['size']:g}", f"{outcome.seconds:.2f}"
            self._line(outcome.name, row["organ"], size, row["unit"], row["verdict"], seconds, findings)

    def _line(self, *cells: str) -> None:
        *fixed, last = cells
        text = "  ".join(cell.ljust(width) for cell, width in zip(fixed, self.WIDTHS, strict=True))
        print(f"{text}  {last}".rstrip(), flush=True)

    def document(self, model: str, outcomes: Sequence[Outcome]) -> None:
        """Print everything as one JSON document."""
        scans = [
            {
                "scan_id": one.name,
                "source": one.source,
                "status": "failed" if one.reason else "ok",
                "reason": one.reason,
                "seconds": round(one.seconds, 3),
                "organs": one.organs,
            }
            for one in outcomes
        ]
        json.dump({"model": model, "scans": scans}, sys.stdout, indent=2, ensure_ascii=False)
        print()
