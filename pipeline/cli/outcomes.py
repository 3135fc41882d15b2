"""What a command that works through scans shows of each: a table as it goes, or one JSON document."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pipeline.cli.console import on_terminal
from pipeline.inference.flow import Outcome
from pipeline.predict.inputs import Input

SHOWN = 2  # findings of an organ on the terminal; the table has them all

#: A scan that was segmented: a row an organ.
Segmented = Outcome[Input, list[dict[str, Any]]]


class OutcomeTable:
    """What a person, or with ``--json`` a program, sees of the work as it goes."""

    WIDTHS = (24, 18, 12, 6, 8, 8)

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._headed = False

    def follow(self, outcomes: Iterable[Segmented], count: int) -> Iterator[Segmented]:
        """The outcomes, one by one; with a bar where a person looks on and there are several."""
        if count < 2 or self.as_json or not on_terminal():
            yield from outcomes
            return
        from rich.console import Console
        from rich.progress import track

        yield from track(outcomes, description="scans", total=count, console=Console(stderr=True), transient=True)

    def shown(self, outcomes: Iterable[Segmented], count: int) -> list[Segmented]:
        """All outcomes, each printed as it comes."""
        every = []
        for outcome in self.follow(outcomes, count):
            every.append(outcome)
            self.show(outcome)
        return every

    def show(self, outcome: Segmented) -> None:
        """Print the rows of one scan."""
        if self.as_json:
            return
        if not self._headed:
            self._line("scan", "organ", "size", "", "verdict", "seconds", "findings")
            self._headed = True
        name, source = outcome.item.name, outcome.item.source
        if name not in source:
            print(f"{name} is {source}", flush=True)
        if outcome.reason:
            self._line(name, "", "", "", "failed", f"{outcome.seconds:.2f}", outcome.reason)
        for row in outcome.result or ():
            said = row["findings"].split("; ")
            findings = "; ".join(said[:SHOWN]) + (f"; {len(said) - SHOWN} more" if len(said) > SHOWN else "")
            size, seconds = f"{row['size']:g}", f"{outcome.seconds:.2f}"
            self._line(name, row["organ"], size, row["unit"], row["verdict"], seconds, findings)

    def _line(self, *cells: str) -> None:
        *fixed, last = cells
        text = "  ".join(cell.ljust(width) for cell, width in zip(fixed, self.WIDTHS, strict=True))
        print(f"{text}  {last}".rstrip(), flush=True)

    def document(self, model: str, outcomes: Sequence[Segmented]) -> None:
        """Print everything as one JSON document."""
        scans = [
            {
                "scan_id": one.item.name,
                "source": one.item.source,
                "status": "failed" if one.reason else "ok",
                "reason": one.reason,
                "seconds": round(one.seconds, 3),
                "organs": one.result or [],
            }
            for one in outcomes
        ]
        json.dump({"model": model, "scans": scans}, sys.stdout, indent=2, ensure_ascii=False)
        print()
