"""Pictures at a model's run: the curves of its folds, and how Dice is spread over scans."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.core.files import number
from pipeline.tracking.events import Event, curve

if TYPE_CHECKING:
    import altair as alt

#: Lines told apart by people with any colour vision (Okabe & Ito); folds beyond them begin again.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")


def curves_picture(folds: Mapping[int, Sequence[Event]], title: str) -> str:
    """SVG: loss and mean validation Dice over the steps, a line a fold.

    Args:
        folds: Fold → its journal.
        title: A line above.
    """
    import altair as alt

    panels = (
        ("loss", "step", "loss", alt.Scale(zero=True)),
        ("validation Dice, mean of organs", "validation", "mean", alt.Scale(domain=[0, 1])),
    )
    charts = []
    for name, kind, field, scale in panels:
        rows = [
            {"fold": f"fold {fold}", "step": step, "value": value}
            for fold, events in folds.items()
            for step, value in curve(events, kind, field)
        ]
        charts.append(
            alt.Chart(alt.InlineData(values=rows), title=name, width=300, height=190)
            .mark_line()
            .encode(
                x=alt.X("step:Q", title="step", scale=alt.Scale(zero=True)),
                y=alt.Y("value:Q", title=None, scale=scale),
                color=alt.Color("fold:N", title=None, scale=alt.Scale(range=list(LINES))),
            )
        )
    return _svg(alt.hconcat(*charts, title=title))


def spread_picture(
    rows: Sequence[Mapping[str, str]], organs: Sequence[str], colors: Mapping[str, str], title: str
) -> str:
    """SVG: every scan's Dice as a dot, a line an organ, with a bar at the median.

    Args:
        rows: Rows of single scans of one model.
        organs: The organs in order.
        colors: Organ → ``#rrggbb``.
        title: A line above.
    """
    import altair as alt

    # Neighbours are set apart in height, so that equal values stay countable.
    points: list[dict[str, Any]] = [
        {"organ": row["organ"], "dice": dice, "place": place % 5 - 2}
        for place, row in enumerate(rows)
        if row["organ"] in organs and (dice := number(row.get("dice"))) == dice
    ]
    scale = alt.Scale(domain=list(organs), range=[colors.get(organ, "#555555") for organ in organs])
    base = alt.Chart(alt.InlineData(values=points), title=title, width=520, height=alt.Step(34)).encode(
        y=alt.Y("organ:N", title=None, scale=alt.Scale(domain=list(organs)))
    )
    dots = base.mark_circle(size=30).encode(
        x=alt.X("dice:Q", title="Dice", scale=alt.Scale(domain=[0, 1])),
        yOffset=alt.YOffset("place:Q", scale=alt.Scale(domain=[-4, 4])),
        color=alt.Color("organ:N", scale=scale, legend=None),
    )
    bars = base.mark_tick(thickness=2, size=26, color="black").encode(x=alt.X("median(dice):Q", title="Dice"))
    return _svg(dots + bars)


def _svg(chart: alt.TopLevelMixin) -> str:
    file = io.StringIO()
    chart.save(file, format="svg")
    return file.getvalue()
