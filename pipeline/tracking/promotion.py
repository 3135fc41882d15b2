"""Whether a new champion takes the old one's place: only if it is better out of fold on the same patients."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pipeline.core.files import read_table
from pipeline.core.paths import StudyPaths
from pipeline.metrics.statistics import compare_paired, patient_means

#: Patients below which an interval says nothing.
FEWEST = 3


class Promotion(NamedTuple):
    """A decision and its reason.

    Attributes:
        alias: ``champion`` or ``challenger``.
        reason: One sentence for people.
    """

    alias: str
    reason: str


def oof_scores(paths: StudyPaths, models: list[str]) -> dict[str, float]:
    """Patient → mean Dice over organs, out of fold, of the models that predict together.

    ``champion/oof.csv`` (``scan_id``, ``dice``) holds the champion's own figures. Where it is absent, the mean over its
    models of ``metrics/oof/per_scan.csv`` stands for them.

    A patient goes by the first of his scans' ids, because what is logged carries no patient's id.
    """
    own = paths.champion / "oof.csv"
    table = paths.metrics("oof") / "per_scan.csv"
    if own.is_file():
        values = [(row["scan_id"], float(row["dice"] or "nan")) for row in read_table(own)]
    elif table.is_file():
        values = _mean_over_organs([row for row in read_table(table) if row["model"] in models])
    else:
        return {}
    alias = patient_aliases(paths)
    return patient_means((alias.get(scan, scan), dice) for scan, dice in values)


def patient_aliases(paths: StudyPaths) -> dict[str, str]:
    """Scan → the first, by name, of all scans of its patient."""
    scans: dict[str, list[str]] = defaultdict(list)
    for row in read_table(paths.scans_csv):
        scans[row["patient_id"]].append(row["scan_id"])
    return {scan: min(members) for members in scans.values() for scan in members}


def _mean_over_organs(rows: list[dict[str, str]]) -> list[tuple[str, float]]:
    gathered: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        value = float(row["dice"] or "nan")
        if row["organ"] != "mean" and math.isfinite(value):
            gathered[row["model"], row["scan_id"]].append(value)
    return [(scan, float(np.mean(values))) for (_, scan), values in gathered.items()]


def judge(new: Mapping[str, float], old: Mapping[str, float] | None, old_version: str = "") -> Promotion:
    """Decide what a new version becomes.

    Args:
        new: Patient → mean Dice over organs, out of fold.
        old: The same of the present champion; ``None`` where there is none.
        old_version: Its number, for the reason.
    """
    if old is None:
        return Promotion("champion", "the first champion of this study")
    paired = compare_paired(new, old)
    if paired.n < FEWEST:
        return Promotion(
            "challenger",
            f"only {paired.n} out-of-fold patients are shared with version {old_version}, {FEWEST} are needed",
        )
    figures = (
        f"Dice {paired.difference:+.4f} (95 % interval {paired.low:+.4f} to {paired.high:+.4f}) against version "
        f"{old_version} on the same {paired.n} out-of-fold patients"
    )
    if paired.low > 0:
        return Promotion("champion", f"better: {figures}")
    return Promotion("challenger", f"not better beyond its interval: {figures}")
