"""Out-of-fold figures: what the champion was chosen on, and what the choice was between."""

from __future__ import annotations

from typing import Any

from pipeline.inference.agreement import BETWEEN
from pipeline.report.data import Gathered
from pipeline.report.results import model_tables, pairs, spread
from pipeline.report.text import figure_text, interval_text, percent, words


def shown(gathered: Gathered) -> dict[str, Any] | None:
    """The choice and its evidence; nothing for a study that trains no model."""
    figures = gathered.oof
    if gathered.study.model:
        return None
    if figures is None:
        return {"figures": None}
    evidence = gathered.champion.evidence if gathered.champion else {}
    return {
        "figures": figures,
        "rule": str(evidence.get("rule", "")),
        "candidates": [_candidate(one) for one in evidence.get("candidates", [])],
        "trials": evidence.get("postprocessing", []),
        "steps": [_step(one) for one in evidence.get("postprocessing", [])],
        "quality": _quality(gathered),
        "tables": model_tables(gathered, figures),
        "spread": spread(gathered, figures, *(model for model in figures.models if model != figures.baseline)),
        "pairs": pairs(figures),
    }


def _candidate(one: dict[str, Any]) -> list[str]:
    gain = interval_text(one.get("against_best") or None, 4, "difference")
    present, alarms = figure_text(one.get("dice_present"), 4), percent(one.get("false_alarm"))
    named, chosen = " + ".join(one["models"]), "yes" if one.get("chosen") else ""
    return [named, interval_text(one, 4, "dice"), present, alarms, gain, chosen]


def _step(one: dict[str, Any]) -> list[str]:
    gain = interval_text(one, 4, "difference")
    return [words(one["organ"]), words(one["step"]), gain, "kept" if one["kept"] else "dropped"]


def _quality(gathered: Gathered) -> dict[str, Any] | None:
    """How well the verdicts found bad segmentations."""
    found = gathered.quality_figures
    if not found:
        return None
    return {**found, "rests_on": {BETWEEN[who]: text for who, text in found["rests_on"].items()}}
