"""Figures of one part, test or out of fold: tables, spread over patients, sizes, surfaces, models, subgroups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pipeline.core.columns import READERS_FAMILY
from pipeline.core.files import Cells, number
from pipeline.metrics.empty import DICE_PRESENT, FALSE_ALARM
from pipeline.metrics.statistics import describe, patient_means
from pipeline.report import charts
from pipeline.report.data import CHAMPION, MEAN, Figures, Gathered
from pipeline.report.text import DASH, figure_text, interval_text, percent, words

_METRICS = {"dice": "Dice", "nsd": "surface Dice", "hd95": "HD95"}


def test(gathered: Gathered) -> dict[str, Any]:
    """All that was measured on test patients."""
    figures = gathered.test
    if figures is None:
        return {"figures": None}
    return {
        "figures": figures,
        "tables": model_tables(gathered, figures),
        "spread": spread(gathered, figures, CHAMPION),
        "losses": _losses(gathered, figures),
        "sizes": _sizes(gathered, figures),
        "tolerances": _tolerances(gathered, figures),
        "volumes": _volumes(gathered, figures),
        "ratios": _ratios(gathered, figures),
        "readers": readers(gathered, figures),
        "pairs": pairs(figures),
        "subgroups": _subgroups(figures),
    }


def model_tables(gathered: Gathered, figures: Figures) -> list[dict[str, Any]]:
    """Every model's figures per organ, the champion's first and open."""
    tables = []
    for model in figures.models:
        units = sorted({row["unit"] for row in figures.rows if row["model"] == model})
        rows = [
            _model_row(figures, model, organ, unit, several=len(units) > 1)
            for organ in gathered.organs_and_mean
            for unit in units
        ]
        named = {CHAMPION: "Champion", figures.baseline: f"Baseline: {figures.baseline}"}
        tables.append(
            {
                "title": named.get(model, f"Model {model}"),
                "unit": units[0] if len(units) == 1 else "mm or px",
                "rows": [row for row in rows if row],
                "rule": figures.rule(model),
            }
        )
    return tables


def _model_row(figures: Figures, model: str, organ: str, unit: str, *, several: bool) -> list[str]:
    def of(metric: str) -> dict[str, Any] | None:
        found = figures.summary(model, organ, metric)
        return next((row for row in found if row["unit"] in {"", unit}), None)

    dice, relative = of("dice"), of("volume_difference")
    if dice is None or (several and of("nsd") is None):
        return []
    shares = ((key, relative.get(key)) for key in ("mean", "low", "high")) if relative else ()
    relatives = {key: None if value is None else value * 100 for key, value in shares}
    return [
        f"{words(organ)}, {unit}" if several else words(organ),
        interval_text(dice),
        f"{figure_text(dice['median'])} ({figure_text(dice['q1'])}–{figure_text(dice['q3'])})",
        interval_text(of(DICE_PRESENT)),
        percent((of(FALSE_ALARM) or {}).get("mean")),
        interval_text(of("nsd")),
        interval_text(of("hd95"), 1),
        interval_text(of("assd"), 2),
        DASH if organ == MEAN else interval_text(relatives, 1) + " %",
        str(dice["n_patients"]),
        str(dice["n_scans"]),
    ]


def readers(gathered: Gathered, figures: Figures) -> list[list[str]]:
    """How far readers agree on an organ, beside how far the champion agrees with the mask that counts, same scans.

    Pairs that are both empty are undefined and left out, of readers as of the model.
    """
    rows = []
    draws = gathered.study.evaluate.bootstrap
    for organ in gathered.organs:
        pairs = [
            (row["patient_id"], among, dice)
            for row in figures.rows
            if (row["model"], row["organ"]) == (CHAMPION, organ)
            if math.isfinite(among := number(gathered.by_scan[row["scan_id"]].get(f"{READERS_FAMILY}_{organ}")))
            if math.isfinite(dice := number(row["dice"]))
        ]
        if pairs:
            sides = [(patient, among) for patient, among, _ in pairs], [(patient, dice) for patient, _, dice in pairs]
            found = (asdict(describe(patient_means(side), draws)) for side in sides)
            shown = [interval_text({key: v if math.isfinite(v) else None for key, v in one.items()}) for one in found]
            rows.append([words(organ), *shown, str(len({pair[0] for pair in pairs})), str(len(pairs))])
    return rows


def spread(gathered: Gathered, figures: Figures, *models: str) -> dict[str, Any] | None:
    """Dice of each patient, one chart for each organ."""
    chosen = [*models, *([figures.baseline] if figures.baseline in figures.models else [])]
    points = spread_points(figures, chosen)
    return charts.organ_spreads(gathered, points, chosen) if points else None


def spread_points(figures: Figures, models: Sequence[str]) -> list[dict[str, Any]]:
    """One point for each organ, model and patient."""
    return [{**p, "model": model} for model in models for p in figures.patient_points(model)]


def _losses(gathered: Gathered, figures: Figures) -> charts.Spec | None:
    points = [
        {"organ": organ, "cause": cause, "lost": row["mean"]}
        for organ in gathered.organs
        for cause in charts.CAUSES
        if (row := figures.of(CHAMPION, organ, f"lost_{cause}")) is not None and row["mean"] is not None
    ]
    return charts.loss_bars(points, gathered.organs) if points else None


def _sizes(gathered: Gathered, figures: Figures) -> list[dict[str, Any]]:
    """A chart of Dice against size for each unit; there are two units where the spacing of some scans is unknown."""
    found = []
    for unit in dict.fromkeys(row["volume_unit"] for row in figures.rows if row.get("volume_unit")):
        points = [
            {"scan": row["scan_id"], "organ": row["organ"], "size": size, "dice": dice}
            for row in figures.rows
            if row["model"] == CHAMPION and row["volume_unit"] == unit
            if math.isfinite(dice := number(row["dice"])) and (size := number(row["volume_ref"])) > 0
        ]
        if points:
            found.append(charts.size_scatter(gathered, points, unit))
    return found


def _tolerances(gathered: Gathered, figures: Figures) -> dict[str, charts.Spec]:
    """Unit → chart of surface Dice against tolerance."""
    found = {}
    for unit in dict.fromkeys(row["unit"] for row in figures.rows):
        points = [
            {"organ": organ, "tolerance": tolerance, **{key: row[key] for key in ("mean", "low", "high")}}
            for organ in gathered.organs
            for tolerance in dict.fromkeys(figures.facts["tolerances"])
            for row in figures.summary(CHAMPION, organ, f"nsd_{tolerance:g}")
            if row["unit"] == unit and row["mean"] is not None
        ]
        if points:
            found[unit] = charts.tolerance_lines(gathered, points, unit)
    return found


def _volumes(gathered: Gathered, figures: Figures) -> list[dict[str, Any]]:
    """Agreement of predicted and reference sizes: a chart and a row for each organ and unit."""
    found = []
    for limits in figures.facts["volumes"]:
        if limits["model"] == CHAMPION and limits["n_scans"]:
            organ, unit = limits["organ"], limits["unit"]
            points = [point for row in figures.rows if (point := _agreement_point(row, organ, unit))]
            lower, upper = figure_text(limits["lower"], 2), figure_text(limits["upper"], 2)
            bias = interval_text(limits, 2, "bias")
            found.append(
                {
                    **charts.bland_altman(points, limits, gathered.study.colors()[organ], unit),
                    **{"organ": organ, "unit": unit, "bias": limits["bias"], "lower": lower, "upper": upper},
                    "row": [words(organ), unit, bias, lower, upper, str(limits["n_scans"])],
                }
            )
    return found


def _agreement_point(row: Cells, organ: str, unit: str) -> dict[str, Any] | None:
    found, drawn = number(row["volume_pred"]), number(row["volume_ref"])
    if (row["model"], row["organ"], row["volume_unit"]) != (CHAMPION, organ, unit):
        return None
    if not (math.isfinite(found) and math.isfinite(drawn)):
        return None
    return {
        "scan": row["scan_id"],
        "middle": (found + drawn) / 2,
        "difference": found - drawn,
        "reference": drawn,
        "predicted": found,
        "dice": number(row["dice"]),
    }


def _ratios(gathered: Gathered, figures: Figures) -> dict[str, Any] | None:
    rows = figures.facts.get("ctr") or []
    if not gathered.study.evaluate.cardiothoracic_ratio or not rows:
        return None
    points = [
        {"scan": row["scan_id"], "x": drawn, "y": found}
        for row in figures.rows
        if row["model"] == CHAMPION and row["organ"] == "heart"
        if math.isfinite(drawn := number(row.get("ctr_ref"))) and math.isfinite(found := number(row.get("ctr_pred")))
    ]
    titles = ("from the reference masks", "from the champion's masks")
    return {
        "spec": charts.identity_scatter(points, *titles) if points else None,
        "rows": [
            [
                f"{row['measured']} against {row['against']}",
                figure_text(row["mean_absolute_error"], 4),
                figure_text(row["bias"], 4),
                figure_text(row["correlation"], 3),
                str(row["n_scans"]),
            ]
            for row in rows
        ],
    }


def pairs(figures: Figures) -> dict[str, Any] | None:
    """Models in pairs: differences of Dice with intervals and adjusted p-values."""
    rows = [row for row in figures.facts["paired"] if row["difference"] is not None]
    if not rows:
        return None
    points = [
        {
            "organ": row["organ"],
            "pair": f"{row['first']} − {row['second']}",
            "p": row["p_holm"],
            "patients": row["n_patients"],
            **{key: row[key] for key in ("difference", "low", "high")},
        }
        for row in rows
        if row["metric"] == "dice" and row["low"] is not None
    ]
    return {
        "spec": charts.paired_forest(points, "difference of Dice") if points else None,
        "rows": [_paired_row(row) for row in rows],
        "rule": figures.rule(short=True),
    }


def _paired_row(row: dict[str, Any]) -> list[str]:
    unit = f", {row['unit']}" if row["metric"] == "hd95" and row["unit"] else ""
    return [
        f"{row['first']} − {row['second']}",
        words(row["organ"]),
        _METRICS.get(row["metric"], row["metric"]) + unit,
        interval_text(row, mean="difference"),
        *(DASH if row[key] is None else f"{row[key]:.3g}" for key in ("p", "p_holm")),
        str(row["n_patients"]),
    ]


def _subgroups(figures: Figures) -> dict[str, Any] | None:
    rows = [row for row in figures.facts["subgroups"] if row["model"] == CHAMPION and row["metric"] == "dice"]
    if not rows:
        return None
    organs = list(dict.fromkeys(row["organ"] for row in rows))
    by_key = {(row["subgroup"], row["group"], row["organ"]): row for row in rows}
    cells = []
    for subgroup, group in dict.fromkeys((row["subgroup"], row["group"]) for row in rows):
        found = [by_key.get((subgroup, group, organ)) for organ in organs]
        patients = max((row["n_patients"] for row in found if row), default=0)
        other = " (another site)" if group in figures.facts["other_sites"] else ""
        name = f"{words(subgroup)}: {group or 'not given'}{other}"
        cells.append([name, str(patients), *(interval_text(row) for row in found)])
    return {"organs": [words(organ) for organ in organs], "rows": cells}
