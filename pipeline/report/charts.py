"""The report's charts as Vega-Lite specifications, in the page's CSS variables, so that light, dark and print agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from pipeline.report.data import Gathered
from pipeline.report.text import words

Spec = dict[str, Any]
Point = dict[str, Any]
Points = Sequence[Point]

INK, SOFT, LINE, PAPER = "var(--ink)", "var(--soft)", "var(--line)", "var(--paper)"
#: Marks and dashes by which organs and models are told apart without colour.
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 2, 2, 2])
SHADES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
CAUSES = {
    "border": ("border", "#0072b2"),
    "missed": ("missed part", "#e69f00"),
    "spurious": ("made-up part", "#cc79a7"),
    "swap": ("wrong organ", "#d55e00"),
}
_DOT: dict[str, Any] = {"filled": True, "size": 60, "opacity": 0.85, "stroke": INK, "strokeWidth": 0.6}
_MOST_POINTS = 4000


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


def thinned(points: Points) -> tuple[list[Point], str]:
    """As many points as a page can show, evenly chosen, and a sentence that says so where some were left out."""
    every = -(-len(points) // _MOST_POINTS)
    if every < 2:
        return list(points), ""
    return list(points[::every]), f" One point in {every} is drawn."


def drawn(points: Points) -> alt.Chart:
    """A chart of points: organs as words, and of numbers only those that are finite."""
    rows = [
        {
            key: words(value) if key == "organ" else value
            for key, value in point.items()
            if not isinstance(value, float) or math.isfinite(value)
        }
        for point in points
    ]
    return alt.Chart(alt.InlineData(values=rows))


def tooltip(**fields: tuple[str, str]) -> list[alt.Tooltip]:
    """What hovering shows: field → title and format; numbers are those fields that have a format."""
    return [
        alt.Tooltip(f"{field}:{'Q' if style else 'N'}", title=title or alt.Undefined, format=style or alt.Undefined)
        for field, (title, style) in fields.items()
    ]


def colored(gathered: Gathered, organs: Sequence[str], legend: bool = False) -> alt.Color:
    """Organs in the colours of the pictures."""
    colors = gathered.study.colors()
    scale = alt.Scale(domain=[words(o) for o in organs], range=[colors[o] for o in organs])
    return alt.Color("organ:N", scale=scale, legend=alt.Legend() if legend else None)


def shaped(organs: Sequence[str], legend: bool = False) -> alt.Shape:
    """Organs told apart by their mark too."""
    scale = alt.Scale(domain=[words(o) for o in organs], range=[SHAPES[i % len(SHAPES)] for i in range(len(organs))])
    return alt.Shape("organ:N", scale=scale, legend=alt.Legend() if legend else None)


def size_scale(points: Points) -> alt.Scale:
    """Logarithmic where the sizes span more than a factor of five."""
    sizes = [float(point["size"]) for point in points]
    if min(sizes) > 0 and max(sizes) / min(sizes) > 5:
        return alt.Scale(type="log")
    return alt.Scale(zero=False)


def low_end(numbers: Sequence[float]) -> float:
    """Where an axis of Dice begins: at the tenth below the lowest figure, never above 0.9."""
    finite = [n for n in numbers if math.isfinite(n)]
    return max(0.0, min(0.9, math.floor((min(finite) - 0.02) * 10) / 10)) if finite else 0.0


def first_spread(gathered: Gathered, points: Points) -> dict[str, Any]:
    """One point for each patient, in one row for each organ: ``organ``, ``model``, ``scans``, ``value``."""
    some, caption = _spread_caption(gathered, points)
    rows = [words(organ) for organ in gathered.organs]
    return {"spec": _spread(gathered, some, rows, "organ", gathered.organs, _low(points)), "caption": caption}


def organ_spreads(gathered: Gathered, points: Points, models: Sequence[str]) -> dict[str, Any]:
    """The same as one chart for each organ, with one row for each model."""
    some, caption = _spread_caption(gathered, points)
    charts = []
    for index, organ in enumerate(gathered.organs):
        own = [point for point in some if point["organ"] == organ]
        if own:
            charts.append((index, words(organ), _spread(gathered, own, models, "model", [organ], _low(points))))
    return {"charts": charts, "caption": caption}


def _low(points: Points) -> float:
    return low_end([point["value"] for point in points])


def _spread_caption(gathered: Gathered, points: Points) -> tuple[list[Point], str]:
    some, fewer = thinned(points)
    return some, (
        "Every point is a patient, the mean over the patient's scans; hover or touch shows which. Bars are medians; "
        f"below the dashed line at {gathered.study.evaluate.dice_limit:g} a segmentation needs a look.{fewer}"
    )


def _spread(
    gathered: Gathered, points: Points, rows: Sequence[str], by: str, organs: Sequence[str], low: float
) -> Spec:
    """Points with the median of each row as a bar, and the Dice below which a segmentation needs a look as a line."""
    x = alt.Scale(domain=[low, 1], nice=False, clamp=True, zero=False)
    # A jitter that is the same each time: the golden ratio's sequence.
    moved = [point | {"jitter": round(2 * ((i * 0.618034) % 1) - 1, 4)} for i, point in enumerate(points)]
    base = drawn(moved).encode(
        y=alt.Y(f"{by}:N", title=None, sort=list(rows), axis=alt.Axis(domain=False, ticks=False, grid=True))
    )
    dots = base.mark_point(**_DOT | {"size": 62, "opacity": 0.9}).encode(
        x=alt.X("value:Q", title="Dice", scale=x),
        yOffset=alt.YOffset("jitter:Q", scale=alt.Scale(domain=[-1.7, 1.7])),
        color=colored(gathered, organs),
        shape=shaped(organs),
        tooltip=tooltip(scans=("patient's scans", ""), organ=("", ""), model=("", ""), value=("Dice", ".4f")),
    )
    median = base.mark_tick(thickness=3, size=22, color=INK).encode(x=alt.X("median(value):Q", title="Dice", scale=x))
    limit = drawn([{"limit": gathered.study.evaluate.dice_limit}]).mark_rule(strokeDash=[4, 4], color=SOFT)
    return finished(alt.layer(limit.encode(x=alt.X("limit:Q", scale=x)), dots, median), 46 + 36 * len(rows))


def bland_altman(points: Points, limits: Mapping[str, Any], color: str, unit: str) -> dict[str, Any]:
    """Difference of two sizes against their mean, with bias and limits of agreement.

    Args:
        points: ``scan``, ``middle``, ``difference``, ``reference``, ``predicted`` each.
        limits: ``bias``, ``lower``, ``upper``; ``None`` where undefined.
        color: Of the organ.
        unit: Of the sizes.
    """
    some, fewer = thinned(points)
    names = {"bias": "bias", "lower": "−1.96 SD", "upper": "+1.96 SD"}
    lines = drawn([{"at": limits[k], "name": name} for k, name in names.items() if limits.get(k) is not None])
    dots = (
        drawn(some)
        .mark_point(**_DOT | {"color": color})
        .encode(
            x=alt.X("middle:Q", title=f"mean of both, {unit}", scale=alt.Scale(zero=False)),
            y=alt.Y("difference:Q", title=f"predicted − reference, {unit}"),
            tooltip=tooltip(
                scan=("", ""),
                reference=(f"reference, {unit}", ".4~r"),
                predicted=(f"predicted, {unit}", ".4~r"),
                difference=(f"difference, {unit}", ".3~r"),
                dice=("Dice", ".4f"),
            ),
        )
    )
    base = lines.encode(y="at:Q")
    dashes = alt.Scale(domain=list(names.values()), range=[[1, 0], [5, 4], [5, 4]])
    rules = base.mark_rule(color=INK).encode(strokeDash=alt.StrokeDash("name:N", scale=dashes, legend=None))
    texts = base.mark_text(align="right", dy=-6, dx=-2, fontSize=11, color=SOFT).encode(
        x=alt.value("width"), text="name:N"
    )
    return {"spec": finished(alt.layer(rules, dots, texts), 230), "fewer": fewer}


def size_scatter(gathered: Gathered, points: Points, unit: str) -> dict[str, Any]:
    """Dice against the organ's size in the reference: ``scan``, ``organ``, ``size``, ``dice``."""
    some, fewer = thinned(points)
    low = low_end([point["dice"] for point in some])
    chart = (
        drawn(some)
        .mark_point(**_DOT)
        .encode(
            x=alt.X("size:Q", title=f"size in the reference, {unit}", scale=size_scale(some)),
            y=alt.Y("dice:Q", title="Dice", scale=alt.Scale(domain=[low, 1])),
            color=colored(gathered, gathered.organs, legend=True),
            shape=shaped(gathered.organs, legend=True),
            tooltip=tooltip(scan=("", ""), organ=("", ""), size=(f"size, {unit}", ".4~r"), dice=("Dice", ".4f")),
        )
    )
    return {"spec": finished(chart, 260), "fewer": fewer}


def size_strips(gathered: Gathered, points: Points, unit: str) -> dict[str, Any]:
    """Sizes of the organs in the reference masks, one tick for each scan: ``organ``, ``scan``, ``size``."""
    some, fewer = thinned(points)
    chart = (
        drawn(some)
        .mark_tick(thickness=2, size=20, opacity=0.8)
        .encode(
            x=alt.X("size:Q", title=f"size in the reference masks, {unit}", scale=size_scale(some)),
            y=alt.Y("organ:N", title=None, sort=[words(o) for o in gathered.organs]),
            color=colored(gathered, gathered.organs),
            tooltip=tooltip(scan=("", ""), organ=("", ""), size=(f"size, {unit}", ".4~r")),
        )
    )
    return {"spec": finished(chart, 50 + 34 * len(gathered.organs)), "fewer": fewer}


def tolerance_lines(gathered: Gathered, points: Points, unit: str) -> Spec:
    """Surface Dice against the tolerance, with intervals: ``organ``, ``tolerance``, ``mean``, ``low``, ``high``."""
    low = low_end([float(p["low"] if p["low"] is not None else p["mean"]) for p in points])
    base = drawn(points).encode(
        x=alt.X("tolerance:Q", title=f"tolerance, {unit}", scale=alt.Scale(zero=False, padding=12)),
        color=colored(gathered, gathered.organs, legend=True),
    )
    scale = alt.Scale(domain=[low, 1], clamp=True)
    bars = base.mark_rule(strokeWidth=2, opacity=0.6).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    lines = base.mark_line(strokeWidth=2).encode(y=alt.Y("mean:Q", title="surface Dice", scale=scale))
    dots = base.mark_point(**_DOT | {"size": 70, "opacity": 1}).encode(
        y=alt.Y("mean:Q", scale=scale),
        shape=shaped(gathered.organs, legend=True),
        tooltip=tooltip(
            organ=("", ""),
            tolerance=(f"tolerance, {unit}", "~g"),
            mean=("surface Dice", ".3f"),
            low=("95 % from", ".3f"),
            high=("to", ".3f"),
        ),
    )
    return finished(alt.layer(lines, bars, dots), 260)


def loss_bars(points: Points, organs: Sequence[str]) -> Spec:
    """Mean Dice lost to each cause, one bar for each organ: ``organ``, ``cause``, ``lost``."""
    places = list(CAUSES)
    named = [p | {"cause": CAUSES[p["cause"]][0], "place": places.index(p["cause"])} for p in points]
    names, colors = zip(*CAUSES.values(), strict=True)
    chart = (
        drawn(named)
        .mark_bar(stroke=PAPER, strokeWidth=1)
        .encode(
            x=alt.X("sum(lost):Q", title="Dice lost, mean over patients"),
            y=alt.Y("organ:N", title=None, sort=[words(o) for o in organs]),
            color=alt.Color("cause:N", scale=alt.Scale(domain=names, range=colors), legend=alt.Legend(columns=2)),
            order=alt.Order("place:Q"),
            tooltip=tooltip(organ=("", ""), cause=("", ""), lost=("Dice lost", ".4f")),
        )
    )
    return finished(chart, 60 + 44 * len(organs))


def training_lines(points: Points, what: str, title: str) -> Spec:
    """A figure along the steps of training, one line for each model and fold: ``step``, ``run``, ``value``."""
    runs = list(dict.fromkeys(str(p["run"]) for p in points))
    shades = alt.Scale(domain=runs, range=[SHADES[i % len(SHADES)] for i in range(len(runs))])
    dashes = alt.Scale(domain=runs, range=[list(DASHES[i % len(DASHES)]) for i in range(len(runs))])
    chart = (
        drawn(points)
        .mark_line(point=alt.OverlayMarkDef(size=22, filled=True), strokeWidth=1.8)
        .encode(
            x=alt.X("step:Q", title="step"),
            y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False)),
            color=alt.Color("run:N", scale=shades),
            strokeDash=alt.StrokeDash("run:N", scale=dashes),
            tooltip=tooltip(run=("model", ""), step=("", "d"), value=(what, ".4f")),
        )
    )
    return finished(chart, 250)


def paired_forest(points: Points, title: str) -> Spec:
    """Differences of two models with their intervals: ``organ``, ``pair``, ``difference``, ``low``, ``high``, ``p``."""
    pairs = list(dict.fromkeys(str(p["pair"]) for p in points))
    organs = list(dict.fromkeys(words(p["organ"]) for p in points))
    legend = alt.Legend(columns=1, labelLimit=320)
    base = drawn(points).encode(
        y=alt.Y("organ:N", title=None, sort=organs),
        yOffset=alt.YOffset("pair:N", sort=pairs),
        color=alt.Color("pair:N", scale=alt.Scale(domain=pairs, range=list(SHADES)), legend=legend),
        tooltip=tooltip(
            pair=("", ""),
            organ=("", ""),
            difference=("", "+.4f"),
            low=("95 % from", "+.4f"),
            high=("to", "+.4f"),
            p=("p, Holm", ".3~g"),
            patients=("", "d"),
        ),
    )
    zero = drawn([{"zero": 0}]).mark_rule(color=SOFT).encode(x="zero:Q")
    bars = base.mark_rule(strokeWidth=2.4).encode(x=alt.X("low:Q", title=title), x2="high:Q")
    dots = base.mark_point(filled=True, size=64, opacity=1).encode(
        x="difference:Q",
        shape=alt.Shape("pair:N", scale=alt.Scale(domain=pairs, range=list(SHAPES[: len(pairs)]))),
    )
    return finished(alt.layer(zero, bars, dots), 70 + len(organs) * max(24, 13 * len(pairs)))


def identity_scatter(points: Points, x_title: str, y_title: str) -> Spec:
    """One measurement against another with the line of equality: ``scan``, ``x``, ``y``."""
    ends = [f(float(p[k]) for p in points for k in ("x", "y")) for f in (min, max)]
    line = drawn([{"x": e, "y": e} for e in ends]).mark_line(color=SOFT, strokeDash=[4, 4]).encode(x="x:Q", y="y:Q")
    dots = (
        drawn(points)
        .mark_point(**_DOT | {"color": SHADES[0]})
        .encode(
            x=alt.X("x:Q", title=x_title, scale=alt.Scale(zero=False)),
            y=alt.Y("y:Q", title=y_title, scale=alt.Scale(zero=False)),
            tooltip=tooltip(scan=("", ""), x=(x_title, ".3f"), y=(y_title, ".3f")),
        )
    )
    return finished(alt.layer(line, dots), 260)
