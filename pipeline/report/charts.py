"""The report's charts as Vega-Lite specifications, in the page's CSS variables, so that light, dark and print agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from pipeline.report.html import words

Spec = dict[str, Any]
Points = Sequence[Mapping[str, Any]]

INK, SOFT, LINE, PAPER = "var(--ink)", "var(--soft)", "var(--line)", "var(--paper)"
#: Told apart without colour.
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 2, 2, 2])
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def finished(chart: alt.TopLevelMixin, height: int) -> Spec:
    """The chart as a specification that fills its place's width, without an address in it."""
    configured = (
        chart.configure(background="transparent", font=FONT, padding={"left": 4, "right": 8, "top": 6, "bottom": 4})
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=SOFT, titleColor=SOFT, domainColor=LINE, tickColor=LINE, gridColor=LINE, gridOpacity=0.6,
            labelFontSize=12, titleFontSize=12, titleFontWeight=500, labelLimit=150, labelOverlap="greedy",
            labelSeparation=6,
        )
        .configure_axisX(tickCount={"expr": "ceil(width / 90)"})
        .configure_legend(labelColor=INK, titleColor=SOFT, labelFontSize=12, orient="top", title=None, offset=4)
        .configure_text(color=INK)
    )  # fmt: skip
    # Validation against the schema takes longer than all the rest of the page.
    spec: Spec = configured.to_dict(validate=False)
    spec.pop("$schema", None)
    return spec | {"width": "container", "height": height, "autosize": {"type": "fit", "contains": "padding"}}


def values(rows: Points) -> alt.InlineData:
    """Rows as a chart's data; numbers that are not finite are left out of their row."""
    clean = [{k: v for k, v in row.items() if not (isinstance(v, float) and not math.isfinite(v))} for row in rows]
    return alt.InlineData(values=clean)


def organ_color(colors: Mapping[str, str], organs: Sequence[str], legend: bool = False) -> alt.Color:
    """Organs in the colours of the pictures."""
    scale = alt.Scale(domain=[words(o) for o in organs], range=[colors[o] for o in organs])
    return alt.Color("organ:N", scale=scale, legend=alt.Legend() if legend else None)


def organ_shape(organs: Sequence[str], legend: bool = False) -> alt.Shape:
    """Organs told apart by their mark too."""
    scale = alt.Scale(domain=[words(o) for o in organs], range=[SHAPES[i % len(SHAPES)] for i in range(len(organs))])
    return alt.Shape("organ:N", scale=scale, legend=alt.Legend() if legend else None)


def size_scale(sizes: Sequence[float]) -> alt.Scale:
    """Logarithmic where the sizes span more than a factor of five."""
    if min(sizes) > 0 and max(sizes) / min(sizes) > 5:
        return alt.Scale(type="log")
    return alt.Scale(zero=False)


def low_end(numbers: Sequence[float], fall: float = 0.02) -> float:
    """Where an axis of Dice begins: at the tenth below the lowest figure, never above 0.9."""
    finite = [n for n in numbers if math.isfinite(n)]
    return max(0.0, min(0.9, math.floor((min(finite) - fall) * 10) / 10)) if finite else 0.0


def spread(
    points: Points,
    rows: Sequence[str],
    by: str,
    organs: Sequence[str],
    colors: Mapping[str, str],
    limit: float,
    low: float,
) -> Spec:
    """Every patient a point, with the median of each row as a bar.

    Args:
        points: ``organ``, ``model``, ``scans``, ``value`` each.
        rows: Values of ``by`` in order, a row each.
        by: ``organ`` or ``model``.
        organs: The organs in order.
        colors: Organ → ``#rrggbb``.
        limit: Dice below which a segmentation needs a look; drawn as a line.
        low: Where the axis begins.
    """
    data = [{**p, "organ": words(str(p["organ"])), "jitter": _jitter(i)} for i, p in enumerate(points)]
    x = alt.Scale(domain=[low, 1], nice=False, clamp=True, zero=False)
    base = alt.Chart(values(data)).encode(
        y=alt.Y(f"{by}:N", title=None, sort=list(rows), axis=alt.Axis(domain=False, ticks=False, grid=True))
    )
    dots = base.mark_point(filled=True, size=62, opacity=0.9, stroke=INK, strokeWidth=0.6).encode(
        x=alt.X("value:Q", title="Dice", scale=x),
        yOffset=alt.YOffset("jitter:Q", scale=alt.Scale(domain=[-1.7, 1.7])),
        color=organ_color(colors, organs),
        shape=organ_shape(organs),
        tooltip=[
            alt.Tooltip("scans:N", title="patient's scans"),
            alt.Tooltip("organ:N"),
            alt.Tooltip("model:N"),
            alt.Tooltip("value:Q", title="Dice", format=".4f"),
        ],
    )
    median = base.mark_tick(thickness=3, size=22, color=INK).encode(x=alt.X("median(value):Q", title="Dice", scale=x))
    mark = alt.Chart(values([{"limit": limit}])).mark_rule(strokeDash=[4, 4], color=SOFT)
    return finished(alt.layer(mark.encode(x=alt.X("limit:Q", scale=x)), dots, median), 46 + 36 * len(rows))


def _jitter(index: int) -> float:
    """A spread of points that is the same each time: the golden ratio's sequence."""
    return round(2 * ((index * 0.618034) % 1) - 1, 4)


def bland_altman(points: Points, limits: Mapping[str, Any], color: str, unit: str) -> Spec:
    """Difference of two sizes against their mean, with bias and limits of agreement.

    Args:
        points: ``scan``, ``middle``, ``difference``, ``reference``, ``predicted`` each.
        limits: ``bias``, ``lower``, ``upper``; ``None`` where undefined.
        color: Of the organ.
        unit: Of the sizes.
    """
    names = {"bias": "bias", "lower": "−1.96 SD", "upper": "+1.96 SD"}
    lines = [{"at": limits[k], "name": name} for k, name in names.items() if limits.get(k) is not None]
    dots = (
        alt.Chart(values(points))
        .mark_point(filled=True, size=60, opacity=0.85, color=color, stroke=INK, strokeWidth=0.6)
        .encode(
            x=alt.X("middle:Q", title=f"mean of both, {unit}", scale=alt.Scale(zero=False)),
            y=alt.Y("difference:Q", title=f"predicted − reference, {unit}"),
            tooltip=[
                alt.Tooltip("scan:N"),
                alt.Tooltip("reference:Q", title=f"reference, {unit}", format=".4~r"),
                alt.Tooltip("predicted:Q", title=f"predicted, {unit}", format=".4~r"),
                alt.Tooltip("difference:Q", title=f"difference, {unit}", format=".3~r"),
                alt.Tooltip("dice:Q", title="Dice", format=".4f"),
            ],
        )
    )
    base = alt.Chart(values(lines)).encode(y="at:Q")
    rules = base.mark_rule(color=INK).encode(
        strokeDash=alt.StrokeDash(
            "name:N",
            scale=alt.Scale(domain=list(names.values()), range=[[1, 0], [5, 4], [5, 4]]),
            legend=None,
        )
    )
    texts = base.mark_text(align="right", dy=-6, dx=-2, fontSize=11, color=SOFT).encode(
        x=alt.value("width"), text="name:N"
    )
    return finished(alt.layer(rules, dots, texts), 230)


def size_scatter(points: Points, organs: Sequence[str], colors: Mapping[str, str], unit: str) -> Spec:
    """Dice against the organ's size in the reference, on a logarithmic axis."""
    rows = [{**p, "organ": words(str(p["organ"]))} for p in points]
    sizes = [float(p["size"]) for p in points]
    chart = (
        alt.Chart(values(rows))
        .mark_point(filled=True, size=60, opacity=0.85, stroke=INK, strokeWidth=0.6)
        .encode(
            x=alt.X("size:Q", title=f"size in the reference, {unit}", scale=size_scale(sizes)),
            y=alt.Y("dice:Q", title="Dice", scale=alt.Scale(domain=[low_end([float(p["dice"]) for p in points]), 1])),
            color=organ_color(colors, organs, legend=True),
            shape=organ_shape(organs, legend=True),
            tooltip=[
                alt.Tooltip("scan:N"),
                alt.Tooltip("organ:N"),
                alt.Tooltip("size:Q", title=f"size, {unit}", format=".4~r"),
                alt.Tooltip("dice:Q", title="Dice", format=".4f"),
            ],
        )
    )
    return finished(chart, 260)


def tolerance_lines(points: Points, organs: Sequence[str], colors: Mapping[str, str], unit: str) -> Spec:
    """Surface Dice against the tolerance, with intervals: ``organ``, ``tolerance``, ``mean``, ``low``, ``high``."""
    rows = [{**p, "organ": words(str(p["organ"]))} for p in points]
    low = low_end([float(p["low"] if p["low"] is not None else p["mean"]) for p in points])
    base = alt.Chart(values(rows)).encode(
        x=alt.X("tolerance:Q", title=f"tolerance, {unit}", scale=alt.Scale(zero=False, padding=12)),
        color=organ_color(colors, organs, legend=True),
    )
    scale = alt.Scale(domain=[low, 1], clamp=True)
    bars = base.mark_rule(strokeWidth=2, opacity=0.6).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    lines = base.mark_line(strokeWidth=2).encode(y=alt.Y("mean:Q", title="surface Dice", scale=scale))
    dots = base.mark_point(filled=True, size=70, opacity=1, stroke=INK, strokeWidth=0.6).encode(
        y=alt.Y("mean:Q", scale=scale),
        shape=organ_shape(organs, legend=True),
        tooltip=[
            alt.Tooltip("organ:N"),
            alt.Tooltip("tolerance:Q", title=f"tolerance, {unit}"),
            alt.Tooltip("mean:Q", title="surface Dice", format=".3f"),
            alt.Tooltip("low:Q", title="95 % from", format=".3f"),
            alt.Tooltip("high:Q", title="to", format=".3f"),
        ],
    )
    return finished(alt.layer(lines, bars, dots), 260)


CAUSES = {
    "border": ("border", "#0072b2"),
    "missed": ("missed part", "#e69f00"),
    "spurious": ("made-up part", "#cc79a7"),
    "swap": ("wrong organ", "#d55e00"),
}


def loss_bars(points: Points, organs: Sequence[str]) -> Spec:
    """Mean Dice lost to each cause, a bar an organ: ``organ``, ``cause``, ``lost``."""
    names = [name for name, _ in CAUSES.values()]
    rows = [
        {"organ": words(str(p["organ"])), "cause": CAUSES[p["cause"]][0], "lost": p["lost"], "place": place}
        for p in points
        for place, cause in enumerate(CAUSES)
        if cause == p["cause"]
    ]
    chart = (
        alt.Chart(values(rows))
        .mark_bar(stroke=PAPER, strokeWidth=1)
        .encode(
            x=alt.X("sum(lost):Q", title="Dice lost, mean over patients"),
            y=alt.Y("organ:N", title=None, sort=[words(o) for o in organs]),
            color=alt.Color(
                "cause:N",
                scale=alt.Scale(domain=names, range=[color for _, color in CAUSES.values()]),
                legend=alt.Legend(columns=2),
            ),
            order=alt.Order("place:Q"),
            tooltip=[
                alt.Tooltip("organ:N"),
                alt.Tooltip("cause:N"),
                alt.Tooltip("lost:Q", title="Dice lost", format=".4f"),
            ],
        )
    )
    return finished(chart, 60 + 44 * len(organs))


def training_lines(points: Points, what: str, title: str) -> Spec:
    """A figure along the steps of training, a line a model and fold: ``step``, ``run``, ``value``."""
    runs = list(dict.fromkeys(str(p["run"]) for p in points))
    shades = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
    chart = (
        alt.Chart(values(points))
        .mark_line(point=alt.OverlayMarkDef(size=22, filled=True), strokeWidth=1.8)
        .encode(
            x=alt.X("step:Q", title="step"),
            y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False)),
            color=alt.Color("run:N", scale=alt.Scale(domain=runs, range=[shades[i % 6] for i in range(len(runs))])),
            strokeDash=alt.StrokeDash(
                "run:N", scale=alt.Scale(domain=runs, range=[list(DASHES[i % 4]) for i in range(len(runs))])
            ),
            tooltip=[
                alt.Tooltip("run:N", title="model"),
                alt.Tooltip("step:Q"),
                alt.Tooltip("value:Q", title=what, format=".4f"),
            ],
        )
    )
    return finished(chart, 250)


def paired_forest(points: Points, title: str) -> Spec:
    """Differences of two models with their intervals: ``organ``, ``pair``, ``difference``, ``low``, ``high``, ``p``."""
    rows = [{**p, "organ": words(str(p["organ"]))} for p in points]
    pairs = list(dict.fromkeys(str(p["pair"]) for p in points))
    organs = list(dict.fromkeys(str(p["organ"]) for p in rows))
    shades = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
    base = alt.Chart(values(rows)).encode(
        y=alt.Y("organ:N", title=None, sort=organs),
        yOffset=alt.YOffset("pair:N", sort=pairs),
        color=alt.Color(
            "pair:N", scale=alt.Scale(domain=pairs, range=list(shades)), legend=alt.Legend(columns=1, labelLimit=320)
        ),
    )
    tips = [
        alt.Tooltip("pair:N"),
        alt.Tooltip("organ:N"),
        alt.Tooltip("difference:Q", format="+.4f"),
        alt.Tooltip("low:Q", title="95 % from", format="+.4f"),
        alt.Tooltip("high:Q", title="to", format="+.4f"),
        alt.Tooltip("p:Q", title="p, Holm", format=".3~g"),
        alt.Tooltip("patients:Q"),
    ]
    zero = alt.Chart(values([{"zero": 0}])).mark_rule(color=SOFT).encode(x="zero:Q")
    bars = base.mark_rule(strokeWidth=2.4).encode(x=alt.X("low:Q", title=title), x2="high:Q", tooltip=tips)
    dots = base.mark_point(filled=True, size=64, opacity=1).encode(
        x="difference:Q",
        shape=alt.Shape("pair:N", scale=alt.Scale(domain=pairs, range=list(SHAPES[: len(pairs)]))),
        tooltip=tips,
    )
    return finished(alt.layer(zero, bars, dots), 70 + len(organs) * max(24, 13 * len(pairs)))


def identity_scatter(points: Points, x_title: str, y_title: str) -> Spec:
    """One measurement against another with the line of equality: ``scan``, ``x``, ``y``."""
    ends = [f([float(p[k]) for p in points for k in ("x", "y")]) for f in (min, max)]
    line = (
        alt.Chart(values([{"x": e, "y": e} for e in ends]))
        .mark_line(color=SOFT, strokeDash=[4, 4])
        .encode(x="x:Q", y="y:Q")
    )
    dots = (
        alt.Chart(values(points))
        .mark_point(filled=True, size=60, opacity=0.85, color="#0072b2", stroke=INK, strokeWidth=0.6)
        .encode(
            x=alt.X("x:Q", title=x_title, scale=alt.Scale(zero=False)),
            y=alt.Y("y:Q", title=y_title, scale=alt.Scale(zero=False)),
            tooltip=[
                alt.Tooltip("scan:N"),
                alt.Tooltip("x:Q", title=x_title, format=".3f"),
                alt.Tooltip("y:Q", title=y_title, format=".3f"),
            ],
        )
    )
    return finished(alt.layer(line, dots), 260)


def size_strips(points: Points, organs: Sequence[str], colors: Mapping[str, str], unit: str) -> Spec:
    """Sizes of the organs in the reference masks, every scan a tick: ``organ``, ``scan``, ``size``."""
    rows = [{**p, "organ": words(str(p["organ"]))} for p in points]
    sizes = [float(p["size"]) for p in points]
    chart = (
        alt.Chart(values(rows))
        .mark_tick(thickness=2, size=20, opacity=0.8)
        .encode(
            x=alt.X("size:Q", title=f"size in the reference masks, {unit}", scale=size_scale(sizes)),
            y=alt.Y("organ:N", title=None, sort=[words(o) for o in organs]),
            color=organ_color(colors, organs),
            tooltip=[
                alt.Tooltip("scan:N"),
                alt.Tooltip("organ:N"),
                alt.Tooltip("size:Q", title=f"size, {unit}", format=".4~r"),
            ],
        )
    )
    return finished(chart, 50 + 34 * len(organs))
