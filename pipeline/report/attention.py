"""Which of the champion's segmentations a person should look at, and why."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

from pipeline.core.files import number
from pipeline.report.data import CHAMPION, Gathered
from pipeline.report.text import figure_text, words

_RANK = {"fail": 0, "look": 1, "good": 2}


@dataclass
class Attention:
    """One scan that needs a look.

    Attributes:
        scan_id: Which.
        dice: Lowest Dice of its organs; NaN where it has no reference.
        verdict: Worst verdict given without the reference: ``good``, ``look`` or ``fail``.
        reasons: All reasons, most telling first.
    """

    scan_id: str
    dice: float = math.nan
    verdict: str = "good"
    reasons: list[str] = field(default_factory=list)

    @property
    def short(self) -> str:
        """The first reason."""
        return self.reasons[0] if self.reasons else ""


def scans_to_look_at(gathered: Gathered) -> list[Attention]:
    """Scans below the study's Dice limit, without a prediction, or judged suspicious; the worst first."""
    found: dict[str, Attention] = {}

    def entry(scan: str) -> Attention:
        return found.setdefault(scan, Attention(scan))

    for row in gathered.predictions:
        if row["status"] != "ok":
            one = entry(row["scan_id"])
            one.verdict = "fail"
            one.reasons.append(f"no prediction: {row['reason']}")
    lows: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for row in gathered.test.rows if gathered.test else []:
        dice = number(row.get("dice"))
        if row["model"] == CHAMPION and dice < gathered.study.evaluate.dice_limit:
            lows[row["scan_id"]].append((dice, row["organ"]))
    for scan, pairs in lows.items():
        one = entry(scan)
        one.dice = min(pairs)[0]
        one.reasons += [f"{words(organ)} Dice {figure_text(dice, 2)}" for dice, organ in sorted(pairs)]
    judged = [row for row in gathered.verdicts if row["verdict"] in {"look", "fail"}]
    for row in sorted(judged, key=lambda row: (_RANK[row["verdict"]], -number(row["risk"]))):
        one = entry(row["scan_id"])
        one.verdict = min(one.verdict, row["verdict"], key=_RANK.__getitem__)
        one.reasons.append(f"{words(row['organ'])}: {row['reasons'].split('; ')[0] or 'unusual'}")
    return sorted(found.values(), key=_order)


def _order(one: Attention) -> tuple[bool, float, int, str]:
    measured = math.isfinite(one.dice)
    return (not one.short.startswith("no prediction"), one.dice if measured else 1.0, _RANK[one.verdict], one.scan_id)
