"""The first screen: what was segmented, on whom, by what, how well against which baseline, and what needs a look."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pipeline.report import charts
from pipeline.report.attention import scans_to_look_at
from pipeline.report.data import CHAMPION, Figures, Gathered
from pipeline.report.gallery import Picture, hero_view
from pipeline.report.results import spread_points
from pipeline.report.text import count, interval_text, words

SCANS = {"xray": "radiograph", "mri": "MRI volume", "ct": "CT volume", "photo": "photograph"}
_MOST_ROWS = 6
_MOST_SITES = 6


def shown(gathered: Gathered) -> dict[str, Any]:
    """What the first screen shows."""
    modality, test = gathered.study.modality, gathered.test
    scans = len({row["scan_id"] for row in gathered.predictions}) or (test.facts["n_scans"] if test else 0)
    hero = hero_view(gathered)
    return {
        "noun": "picture" if gathered.is_flat and modality in {"mri", "ct"} else SCANS[modality],
        "sites": _sites(gathered),
        "model": _model(gathered),
        "hero": hero and Picture(gathered, hero),
        "test": test,
        "headline": test and _headline(gathered, test),
        "attention": scans_to_look_at(gathered),
        "predicted": scans,
        "findings": Counter(code for _, pairs in gathered.with_findings for code, _ in pairs).most_common(4),
        "failed": [row for row in gathered.predictions if row["status"] != "ok"],
        "wrong": sorted({row["format"] for row in gathered.checks if row["status"] == "failed"}),
        "n_wrong": sum(row["status"] == "failed" for row in gathered.checks),
    }


def _sites(gathered: Gathered) -> str:
    site = gathered.study.evaluate.site
    if not site or not gathered.scans or site not in gathered.scans[0]:
        return ""
    patients = {(row["patient_id"], row[site] or "unnamed") for row in gathered.scans}
    counts = Counter(name for _, name in patients)
    named = ", ".join(f"{name} {n}" for name, n in sorted(counts.items())[:_MOST_SITES])
    more = f" and {len(counts) - _MOST_SITES} more" if len(counts) > _MOST_SITES else ""
    return f" from {count(len(counts), 'site')} ({named}{more})"


def _model(gathered: Gathered) -> str:
    champion = gathered.champion
    if champion is None:
        return "none chosen yet"
    named = f"{champion.name} ({count(len(champion.members), 'network')})"
    if gathered.study.model:
        return f"{named}, trained before on study {champion.study}, applied here"
    candidates = champion.evidence.get("candidates", [])
    return named + (f", chosen among {len(candidates)} candidates by out-of-fold Dice" if len(candidates) > 1 else "")


def _headline(gathered: Gathered, test: Figures) -> dict[str, Any]:
    """The champion's Dice on test patients beside the baseline's, organ by organ."""
    bars = {
        organ: (test.of(CHAMPION, organ), test.of(test.baseline, organ) if test.baseline in test.models else None)
        for organ in gathered.organs_and_mean
    }
    ends = [_end(own) for own, _ in bars.values()] + [other["mean"] for _, other in bars.values() if other]
    low = charts.low_end([end for end in ends if end is not None])
    points = spread_points(test, [CHAMPION]) if len(gathered.organs) <= _MOST_ROWS else []
    return {
        "mean": test.of(CHAMPION, "mean"),
        "surface": _surface_title(test),
        "low": low,
        "rows": [
            {"organ": organ, "dice": own, "surface": _surface(test, organ), "baseline": other, "bar": _bar(own, low)}
            | {"tick": other and _at(other["mean"], low)}
            for organ, (own, other) in bars.items()
        ],
        "no_better": [
            words(organ) for organ in gathered.organs if _no_better(test.of(CHAMPION, organ), bars[organ][1])
        ],
        "spread": charts.first_spread(gathered, points) if points else None,
    }


def _no_better(own: dict[str, Any] | None, baseline: dict[str, Any] | None) -> bool:
    """Whether an organ is segmented no better than by the baseline, which does not look at the scan."""
    means = [row["mean"] for row in (own, baseline) if row is not None and row["mean"] is not None]
    return len(means) == 2 and means[0] <= means[1]


def _end(row: dict[str, Any] | None) -> float | None:
    """The low end of what is drawn of a row."""
    if row is None:
        return None
    return row["low"] if row["low"] is not None else row["mean"]


def _at(value: float | None, low: float) -> str | None:
    """Place of a value on an axis from ``low`` to 1, in the units of the drawing."""
    return None if value is None else f"{4 + 100 * max(value - low, 0) / (1 - low):.1f}"


def _bar(row: dict[str, Any] | None, low: float) -> dict[str, Any] | None:
    """Ends of an interval and its mean, as values and as places."""
    if row is None or row.get("mean") is None:
        return None
    ends = {key: row["mean"] if row.get(key) is None else row[key] for key in ("mean", "low", "high")}
    return ends | {f"{key}_at": _at(value, low) for key, value in ends.items()}


def _surface_title(test: Figures) -> str:
    """``surface Dice at 2 mm``; without the tolerance where organs or units have different ones."""
    used = {(row["nsd_tolerance"], row["unit"]) for row in test.rows if row.get("nsd_tolerance")}
    if len(used) != 1:
        return "surface Dice"
    tolerance, unit = used.pop()
    return f"surface Dice at {float(tolerance):g} {unit}"


def _surface(test: Figures, organ: str) -> str:
    found = test.summary(CHAMPION, organ, "nsd")
    several = len(found) > 1
    return "; ".join(interval_text(row) + (f" in {row['unit']}" if several else "") for row in found) or "–"
