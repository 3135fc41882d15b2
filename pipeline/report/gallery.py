"""The gallery: the worst, median and best test scans with both outlines, and all scans in one table."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.core.files import number
from pipeline.report.attention import scans_to_look_at
from pipeline.report.data import CHAMPION, Gathered
from pipeline.report.text import DASH, figure_text, words
from pipeline.report.views import ScanView, open_view

WORST, MIDDLE, BEST = 6, 3, 3
_UNLABELLED = 6
_MOST_ROWS = 300
#: Bytes of pictures that the gallery may take; later scans then show one slice instead of all.
_BUDGET = 5_000_000


@dataclass(frozen=True)
class Picture:
    """A drawn scan with the champion's Dice on it."""

    gathered: Gathered
    view: ScanView

    @property
    def scores(self) -> list[tuple[str, float]]:
        """Organ and Dice; none where the scan was not measured."""
        rows = self.gathered.test.rows if self.gathered.test else []
        own = (row for row in rows if row["scan_id"] == self.view.scan_id and row["model"] == CHAMPION)
        return [(row["organ"], number(row["dice"])) for row in own]

    @property
    def alt(self) -> str:
        """The picture in words, for readers who cannot see it."""
        scores = ", ".join(f"{words(organ)} Dice {figure_text(dice, 2)}" for organ, dice in self.scores)
        return f"Scan {self.view.scan_id} with outlines of champion and reference. {scores}"

    def labels(self) -> list[tuple[str, str]]:
        """Organs with their names, and with their Dice where it is known."""
        scored = [(organ, f"{words(organ)} {figure_text(dice, 2)}") for organ, dice in self.scores]
        return scored or [(organ, words(organ)) for organ in self.gathered.organs]

    @property
    def verdicts(self) -> list[str]:
        """The quality verdicts on it that are not good, which were given without the reference."""
        rows = [row for row in self.gathered.verdicts if row["scan_id"] == self.view.scan_id]
        return [f"{words(r['organ'])}: {r['reasons'].split('; ')[0]}" for r in rows if r["verdict"] != "good"]


def chosen_scans(gathered: Gathered) -> list[tuple[str, str]]:
    """Scans of the gallery with why they are in it: worst, median and best mean Dice of the champion.

    Without any figure, the scans that the verdicts find worst.
    """
    means = gathered.test.scan_means(CHAMPION) if gathered.test else {}
    order = sorted(means, key=lambda scan: (means[scan], scan))
    if not order:
        risks: dict[str, float] = defaultdict(float)
        for row in gathered.verdicts:
            risks[row["scan_id"]] = max(risks[row["scan_id"]], number(row["risk"]))
        worst = sorted(risks, key=lambda scan: (-risks[scan], scan))[:_UNLABELLED]
        return [("most suspicious", scan) for scan in worst]
    if len(order) <= WORST + MIDDLE + BEST:
        names = {order[0]: "worst", median_scan(means): "median", order[-1]: "best"}
        return [(names.get(scan, ""), scan) for scan in order]
    centre = max(len(order) // 2 - MIDDLE // 2, WORST)
    picked = [("worst", scan) for scan in order[:WORST]]
    picked += [("median", scan) for scan in order[centre : centre + MIDDLE]]
    picked += [("best", scan) for scan in order[-BEST:]]
    return list({scan: (why, scan) for why, scan in picked}.values())


def median_scan(means: Mapping[str, float]) -> str:
    """The scan in the middle of the order."""
    order = sorted(means, key=lambda scan: (means[scan], scan))
    return order[len(order) // 2]


def hero_view(gathered: Gathered) -> ScanView | None:
    """The picture of the first screen: the median test scan, or else the first that was predicted or ingested."""
    means = gathered.test.scan_means(CHAMPION) if gathered.test else {}
    predicted = [row["scan_id"] for row in gathered.predictions if row["status"] == "ok"]
    names = [median_scan(means)] if means else [*predicted, *gathered.by_scan]
    row = gathered.by_scan.get(names[0]) if names else None
    return open_view(gathered.paths, row, predicted=True, scroll=False) if row else None


def pictures(gathered: Gathered) -> dict[str, Any]:
    """The chosen scans as pictures, and those that could not be drawn."""
    drawn: list[tuple[int, str, Picture]] = []
    missing, spent = [], 0
    for index, (why, scan) in enumerate(chosen_scans(gathered)):
        row = gathered.by_scan.get(scan)
        view = open_view(gathered.paths, row, predicted=True, scroll=spent < _BUDGET) if row else None
        if view is None:
            missing.append(scan)
        else:
            spent += sum(len(one.image) for one in view.slices)
            drawn.append((index, why, Picture(gathered, view)))
    return {"pictures": drawn, "missing": missing}


def scans(gathered: Gathered) -> dict[str, Any] | None:
    """Every predicted scan, those that need a look first."""
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    for row in gathered.test.rows if gathered.test else []:
        if row["model"] == CHAMPION:
            scores[row["scan_id"]][row["organ"]] = number(row["dice"])
    names = list(dict.fromkeys([*(row["scan_id"] for row in gathered.predictions), *scores]))
    if not names:
        return None
    attention = scans_to_look_at(gathered)
    place = {one.scan_id: index for index, one in enumerate(attention)}
    reasons = {one.scan_id: one.reasons for one in attention}
    names.sort(key=lambda scan: (place.get(scan, len(place)), _lowest(scores.get(scan, {})), scan))
    verdicts: dict[str, str] = {}
    for rank in ("good", "look", "fail"):
        verdicts |= {row["scan_id"]: rank for row in gathered.verdicts if row["verdict"] == rank}
    rows = [
        {
            "scan": scan,
            "dice": [figure_text(scores.get(scan, {}).get(organ)) for organ in gathered.organs],
            "verdict": verdicts.get(scan) or ("no prediction" if scan in reasons and scan not in scores else DASH),
            "why": "; ".join(reasons.get(scan, [])),
        }
        for scan in names[:_MOST_ROWS]
    ]
    return {
        "rows": rows,
        "total": len(names),
        "drawn": {scan for _, scan in chosen_scans(gathered)},
        "judged": bool(verdicts),
        "organs": [f"{words(organ)}, Dice" for organ in gathered.organs],
    }


def _lowest(own: Mapping[str, float]) -> float:
    return min((value for value in own.values() if math.isfinite(value)), default=1.0)
