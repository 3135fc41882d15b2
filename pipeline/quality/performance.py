"""How well verdicts find what is bad, in figures and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.quality.judge import LOOK


def performance(outcomes: Sequence[tuple[bool, float]]) -> dict[str, Any]:
    """How well a risk finds what is bad: counts, sensitivity, specificity and AUROC; ``None`` where undefined."""
    bad = np.array([risk for is_bad, risk in outcomes if is_bad])
    good = np.array([risk for is_bad, risk in outcomes if not is_bad])
    auroc = None
    if len(bad) and len(good):
        # The chance that a bad one has the higher risk (Mann-Whitney), ties counting half.
        apart = bad[:, None] - good[None]
        auroc = round(float((apart > 0).mean() + 0.5 * (apart == 0).mean()), 4)
    return {
        "bad": len(bad),
        "good": len(good),
        "sensitivity": round(float((bad > LOOK).mean()), 4) if len(bad) else None,
        "specificity": round(float((good <= LOOK).mean()), 4) if len(good) else None,
        "auroc": auroc,
    }


def performance_text(figures: Mapping[str, Any]) -> str:
    """What :func:`performance` found, for a person; what is undefined is said, with its cause."""
    bad, good, limit = figures["bad"], figures["good"], figures["dice_limit"]
    if not bad + good:
        return "quality verdicts, out of fold: no prediction could be compared with a reference"
    said = [f"{bad} of {bad + good} organs below Dice {limit:g}"]
    if bad:
        said.append(f"{figures['sensitivity']:.0%} of these found")
    else:
        said.append("how many of such would be found is not known without any")
    if good:
        said.append(f"{1 - figures['specificity']:.0%} false alarms")
    if figures["auroc"] is not None:
        said.append(f"AUROC {figures['auroc']:.2f}")
    if figures.get("covered") is not None:
        said.append(f"{figures['covered']:.0%} of Dice within the predicted 90% interval")
    return f"quality verdicts, out of fold: {', '.join(said)}"
