"""Figures of one part, test or out of fold: tables, spread over patients, sizes, surfaces, models, subgroups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.report import charts
from pipeline.report.data import CHAMPION, MEAN, Figures, Gathered, number
from pipeline.report.html import (
    DASH,
    Html,
    chart,
    count,
    details,
    element,
    figure_text,
    interval_text,
    join,
    paragraph,
    plot,
    section,
    table,
    words,
)

CASE_WORDS = {
    "empty_reference": "made up where the reference has none",
    "empty_prediction": "missed",
    "both_empty": "absent from both",
    "no_prediction": "without a prediction",
}
SHORT_RULE = (
    "Empty masks: an organ absent from both masks is left out; one that is missed or made up counts as Dice and "
    "surface Dice 0."
)
_MOST_POINTS = 4000
_Point = dict[str, Any]


def empty_note(figures: Figures, model: str, *, short: bool = False) -> Html:
    """The rule for empty masks and how many cases of a model it decided."""
    cases = figures.cases(model)
    counted = ", ".join(f"{n} {CASE_WORDS.get(case, case)}" for case, n in sorted(cases.items())) or "none here"
    rule = SHORT_RULE if short else f"Empty masks, {figures.facts['rule']}"
    return paragraph(f"{rule} Such cases: {counted}.", "note rule")


def test_section(gathered: Gathered) -> Html:
    """All that was measured on test patients."""
    figures = gathered.test
    if figures is None:
        return section("test", "Test patients", paragraph("No test patient with a mask was measured."))
    note = str(figures.facts.get("note") or "")
    apart = figures.facts.get("other_sites") or []
    sites = (
        f"Scans of {', '.join(apart)} come from sites that no model was developed on: they are reported among the "
        "subgroups only, and are not part of the figures over all."
        if apart
        else ""
    )
    lead = f"{count(figures.scans, 'scan')} of {count(figures.patients, 'patient')}. "
    lead += (
        "They were opened after the champion had been chosen, and decided nothing."
        if not gathered.study.model
        else "The model was trained elsewhere; no scan of this study was trained on here."
    )
    return section(
        "test",
        "Test patients",
        paragraph(note, "warning"),
        paragraph(sites),
        figures_table(gathered, figures),
        element(
            "div",
            join(
                [
                    spread_chart(gathered, figures, CHAMPION),
                    _losses(gathered, figures, CHAMPION),
                    _sizes(gathered, figures, CHAMPION),
                    _tolerances(gathered, figures, CHAMPION),
                ]
            ),
            class_="plots",
        ),
        _volumes(gathered, figures, CHAMPION),
        _ratios(gathered, figures),
        comparison(gathered, figures),
        _subgroups(figures, CHAMPION),
        lead=lead,
    )


def figures_table(gathered: Gathered, figures: Figures) -> Html:
    """Every model's figures per organ, the champion's open."""
    parts = []
    for model in figures.models:
        inner = _model_table(gathered, figures, model)
        title = {CHAMPION: "Champion", figures.baseline: f"Baseline: {figures.baseline}"}.get(model, f"Model {model}")
        parts.append(details(title, inner, opened=model == figures.models[0], printed=figures.part == "test"))
    return join(parts)


def _model_table(gathered: Gathered, figures: Figures, model: str) -> Html:
    rows = []
    units = sorted({row["unit"] for row in figures.rows if row["model"] == model})
    organs = [*gathered.organs, *([MEAN] if len(gathered.organs) > 1 else [])]
    for organ in organs:
        for unit in units:
            row = _model_row(figures, model, organ, unit, several=len(units) > 1)
            if row:
                rows.append(row)
    unit = units[0] if len(units) == 1 else "mm or px"
    lengths = (f"HD95, {unit}", f"mean distance, {unit}")
    head = ("organ", "Dice", "median (quartiles)", "surface Dice", *lengths, "volume difference", "patients", "scans")
    caption = f"Mean over patients with 95 % interval, {'test' if figures.part == 'test' else 'out of fold'}"
    return join([table(head, rows, caption=caption), empty_note(figures, model)])


def _model_row(figures: Figures, model: str, organ: str, unit: str, *, several: bool) -> list[object] | None:
    def of(metric: str) -> dict[str, Any] | None:
        found = figures.summary(model, organ, metric)
        return next((row for row in found if row["unit"] in {"", unit}), None)

    dice = of("dice")
    if dice is None or (several and of("nsd") is None):
        return None
    name = "mean of organs" if organ == MEAN else words(organ)
    relative = of("volume_difference")
    percent = None if relative is None else {k: _times(relative.get(k), 100) for k in ("mean", "low", "high")}
    quartiles = f"{figure_text(dice['median'])} ({figure_text(dice['q1'])}–{figure_text(dice['q3'])})"
    return [
        f"{name}, {unit}" if several else name,
        interval_text(dice),
        quartiles,
        interval_text(of("nsd")),
        interval_text(of("hd95"), 1),
        interval_text(of("assd"), 2),
        DASH if organ == MEAN else interval_text(percent, 1) + " %",
        str(dice["n_patients"]),
        str(dice["n_scans"]),
    ]


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def spread_chart(gathered: Gathered, figures: Figures, *models: str) -> Html:
    """Dice of each patient, a chart an organ."""
    limit = gathered.study.evaluate.dice_limit
    chosen = [*models, *([figures.baseline] if figures.baseline in figures.models else [])]
    points = spread_points(figures, chosen)
    if not points:
        return Html("")
    colors, low = gathered.study.colors(), charts.low_end([p["value"] for p in points])
    points, fewer = thinned(points)
    parts: list[Html] = []
    for index, organ in enumerate(gathered.organs):
        own = [p for p in points if p["organ"] == organ]
        if own:
            spec = charts.spread(own, chosen, "model", [organ], colors, limit, low)
            title = f"Dice of each patient, {words(organ)}"
            parts += [element("h5", words(organ)), plot(f"spread-{figures.part}-{index}", spec, title)]
    inner = [element("h4", "Dice of each patient"), *parts, element("figcaption", spread_caption(limit) + fewer)]
    return element("figure", join(inner), class_="plot wide")


def spread_points(figures: Figures, models: Sequence[str]) -> list[dict[str, Any]]:
    """A point an organ, model and patient."""
    return [{**p, "model": model} for model in models for p in figures.patient_points(model)]


def thinned(points: Sequence[_Point]) -> tuple[list[_Point], str]:
    """As many points as a page can show, evenly chosen, and a sentence that says so where some were left out."""
    every = -(-len(points) // _MOST_POINTS)
    if every < 2:
        return list(points), ""
    return list(points[::every]), f" One point in {every} is drawn."


def spread_caption(limit: float) -> str:
    """How to read the points."""
    return (
        "Every point is a patient, the mean over the patient's scans; hover or touch shows which. Bars are medians; "
        f"below the dashed line at {limit:g} a segmentation needs a look."
    )


def _losses(gathered: Gathered, figures: Figures, model: str) -> Html:
    points = []
    for organ in gathered.organs:
        for cause in charts.CAUSES:
            row = next(iter(figures.summary(model, organ, f"lost_{cause}")), None)
            if row is not None and row["mean"] is not None:
                points.append({"organ": organ, "cause": cause, "lost": row["mean"]})
    if not points:
        return Html("")
    caption = (
        "1 − Dice, split: error at the border of what was found, parts missed, parts made up, one organ for another."
    )
    return chart(f"loss-{figures.part}", charts.loss_bars(points, gathered.organs), "What Dice was lost to", caption)


def volume_units(figures: Figures) -> list[str]:
    """Units that sizes are measured in: more than one where the spacing of some scans is unknown."""
    return list(dict.fromkeys(row["volume_unit"] for row in figures.rows if row.get("volume_unit")))


def _sizes(gathered: Gathered, figures: Figures, model: str) -> Html:
    parts: list[Html] = []
    for unit in volume_units(figures):
        points = [
            {"scan": row["scan_id"], "organ": row["organ"], "size": size, "dice": dice}
            for row in figures.rows
            if row["model"] == model and row["volume_unit"] == unit
            if math.isfinite(dice := number(row["dice"])) and (size := number(row["volume_ref"])) > 0
        ]
        if points:
            some, fewer = thinned(points)
            spec = charts.size_scatter(some, gathered.organs, gathered.study.colors(), unit)
            caption = "Every point is an organ of a scan. Small organs lose more Dice to the same border error." + fewer
            parts.append(chart(f"size-{figures.part}-{len(parts)}", spec, "Dice against organ size", caption))
    return join(parts)


def _tolerances(gathered: Gathered, figures: Figures, model: str) -> Html:
    parts = []
    units = list(dict.fromkeys(row["unit"] for row in figures.rows))
    for unit in units:
        points: dict[tuple[str, float], dict[str, Any]] = {}
        for organ in gathered.organs:
            for tolerance in figures.facts["tolerances"]:
                found = figures.summary(model, organ, f"nsd_{tolerance:g}")
                row = next((r for r in found if r["unit"] == unit and r["mean"] is not None), None)
                if row is not None:
                    kept = {k: row[k] for k in ("mean", "low", "high")}
                    points[organ, tolerance] = {"organ": organ, "tolerance": tolerance, **kept}
        if points:
            spec = charts.tolerance_lines(list(points.values()), gathered.organs, gathered.study.colors(), unit)
            caption = "Share of both surfaces that lies within the tolerance of the other; bars are 95 % intervals."
            name = f"tolerance-{figures.part}-{unit}"
            parts.append(chart(name, spec, "Surface Dice against tolerance", caption))
    return join(parts)


def _volumes(gathered: Gathered, figures: Figures, model: str) -> Html:
    plots: list[Html] = []
    rows: list[list[object]] = []
    colors = gathered.study.colors()
    for limits in figures.facts["volumes"]:
        if limits["model"] != model or not limits["n_scans"]:
            continue
        organ, unit = limits["organ"], limits["unit"]
        points = [point for row in figures.rows if (point := _agreement_point(row, model, organ, unit))]
        some, fewer = thinned(points)
        spec = charts.bland_altman(some, limits, colors[organ], unit)
        name = f"volume-{figures.part}-{len(plots)}"
        lower, upper = figure_text(limits["lower"], 2), figure_text(limits["upper"], 2)
        caption = (
            f"Bias {figure_text(limits['bias'], 2)} {unit}, limits of agreement {lower} to {upper} {unit}." + fewer
        )
        plots.append(chart(name, spec, words(organ), caption))
        interval = {"mean": limits["bias"], "low": limits["low"], "high": limits["high"]}
        rows.append([words(organ), unit, interval_text(interval, 2), lower, upper, str(limits["n_scans"])])
    if not plots:
        return Html("")
    head = ("organ", "unit", "bias (95 % interval)", "lower limit", "upper limit", "scans")
    note = "Predicted minus reference, every scan a point. Limits of agreement: bias ± 1.96 SD (Bland & Altman 1986)."
    return join(
        [
            element("h3", "Agreement of sizes"),
            element("div", join(plots), class_="plots three"),
            table(head, rows, caption="Limits of agreement", note=note),
            empty_note(figures, model, short=True),
        ]
    )


def _agreement_point(row: dict[str, str], model: str, organ: str, unit: str) -> dict[str, Any] | None:
    if (row["model"], row["organ"], row["volume_unit"]) != (model, organ, unit):
        return None
    found, drawn = number(row["volume_pred"]), number(row["volume_ref"])
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


def _ratios(gathered: Gathered, figures: Figures) -> Html:
    rows = figures.facts.get("ctr") or []
    if not gathered.study.evaluate.cardiothoracic_ratio or not rows:
        return Html("")
    points = [
        {"scan": row["scan_id"], "x": drawn, "y": found}
        for row in figures.rows
        if row["model"] == CHAMPION and row["organ"] == "heart"
        if math.isfinite(drawn := number(row.get("ctr_ref"))) and math.isfinite(found := number(row.get("ctr_pred")))
    ]
    cells = [
        [
            f"{row['measured']} against {row['against']}",
            figure_text(row["mean_absolute_error"], 4),
            figure_text(row["bias"], 4),
            figure_text(row["correlation"], 3),
            str(row["n_scans"]),
        ]
        for row in rows
    ]
    head = ("cardiothoracic ratio", "mean absolute error", "bias", "correlation", "scans")
    note = "Greatest width of the heart over greatest width of the thorax; undefined where an organ is absent."
    parts: list[Html] = []
    if points:
        spec = charts.identity_scatter(points, "from the reference masks", "from the champion's masks")
        caption = "Every point is a scan; on the dashed line both agree."
        parts.append(chart(f"ctr-{figures.part}", spec, "Both ratios", caption))
    parts.append(table(head, cells, caption="Agreement of cardiothoracic ratios", note=note))
    return join([element("h3", "Cardiothoracic ratio"), element("div", join(parts), class_="plots")])


def comparison(gathered: Gathered, figures: Figures) -> Html:
    """Models in pairs: differences of Dice with intervals and adjusted p-values."""
    rows = [row for row in figures.facts["paired"] if row["difference"] is not None]
    if not rows:
        return Html("")
    dice = [row for row in rows if row["metric"] == "dice" and row["low"] is not None]
    points = [
        {
            "organ": row["organ"],
            "pair": f"{row['first']} − {row['second']}",
            "p": row["p_holm"],
            "patients": row["n_patients"],
            **{k: row[k] for k in ("difference", "low", "high")},
        }
        for row in dice
    ]
    parts: list[Html] = [element("h3", "Models in pairs")]
    if points:
        caption = "Right of zero the first model of the pair is better. Bars are 95 % intervals over patients."
        spec = charts.paired_forest(points, "difference of Dice")
        parts.append(
            element(
                "div", chart(f"paired-{figures.part}", spec, "Difference of Dice", caption, wide=True), class_="plots"
            )
        )
    head = ("first − second", "organ", "figure", "difference (95 % interval)", "p, Wilcoxon", "p, Holm", "patients")
    cells = [_paired_row(row) for row in rows]
    note = "Paired by patient. Holm's correction is over the organs of a pair and figure; the mean is not corrected."
    inner = join([table(head, cells, caption="All comparisons", note=note), empty_note(figures, CHAMPION, short=True)])
    return join([*parts, details(f"All {len(cells)} comparisons", inner)])


def _paired_row(row: dict[str, Any]) -> list[object]:
    interval = {"mean": row["difference"], "low": row["low"], "high": row["high"]}
    metric = {"dice": "Dice", "nsd": "surface Dice", "hd95": "HD95"}.get(row["metric"], row["metric"])
    unit = f", {row['unit']}" if row["metric"] == "hd95" and row["unit"] else ""
    p = [DASH if row[k] is None else f"{row[k]:.3g}" for k in ("p", "p_holm")]
    name = f"{row['first']} − {row['second']}"
    return [name, words(row["organ"]), metric + unit, interval_text(interval), *p, str(row["n_patients"])]


def _subgroups(figures: Figures, model: str) -> Html:
    rows = [row for row in figures.facts["subgroups"] if row["model"] == model and row["metric"] == "dice"]
    if not rows:
        return Html("")
    groups = list(dict.fromkeys((row["subgroup"], row["group"]) for row in rows))
    organs = list(dict.fromkeys(row["organ"] for row in rows))
    by_key = {(row["subgroup"], row["group"], row["organ"]): row for row in rows}
    apart = set(figures.facts.get("other_sites") or [])
    cells: list[Sequence[object]] = []
    for subgroup, group in groups:
        found = [by_key.get((subgroup, group, organ)) for organ in organs]
        patients = max((row["n_patients"] for row in found if row), default=0)
        name = f"{words(subgroup)}: {group or 'not given'}" + (" (another site)" if group in apart else "")
        cells.append([name, str(patients), *(interval_text(row) for row in found)])
    head = ("subgroup", "patients", *("mean of organs" if organ == MEAN else words(organ) for organ in organs))
    note = "Dice, mean over patients with 95 % interval. Subgroups are small: read the intervals, not the order."
    return join(
        [
            element("h3", "Subgroups"),
            table(head, cells, caption="Dice by subgroup", note=note),
            empty_note(figures, model, short=True),
        ]
    )
