"""Small pieces of HTML: escaped text, tables that carry their notes, figures with their captions, numbers as read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape, unescape
from typing import Any

DASH = "–"


class Html(str):
    """Text that is HTML already and is not escaped again."""

    __slots__ = ()


def text(value: object) -> Html:
    """Escape what is not HTML yet."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def join(parts: Iterable[object], between: str = "") -> Html:
    """Put pieces one after another; empty ones are left out."""
    return Html(between.join(str(text(part)) for part in parts if str(part)))


def element(tag: str, content: object = "", /, **attributes: object) -> Html:
    """``<tag attributes>content</tag>``; ``class_`` becomes ``class``, ``data_x`` ``data-x``; ``None`` is left out."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Html(f"<{tag}{written}>{text(content)}</{tag}>")


def paragraph(content: object, class_: str | None = None) -> Html:
    """A paragraph; nothing where there is nothing to say."""
    return element("p", content, class_=class_) if str(content) else Html("")


def listed(items: Iterable[object], class_: str | None = None) -> Html:
    """An unordered list; nothing where it is empty."""
    rows = [element("li", item) for item in items]
    return element("ul", join(rows), class_=class_) if rows else Html("")


def table(
    head: Sequence[object], rows: Iterable[Sequence[object]], *, caption: str, note: object = "", class_: str = ""
) -> Html:
    """A table whose first column names the rows.

    Args:
        head: Titles of the columns.
        rows: Cells; numbers written as text are right-aligned by the style sheet's ``num`` class, set here.
        caption: What the table shows.
        note: What must be known to read it, such as the rule for empty masks; printed below it.
        class_: More classes.
    """
    body = []
    for row in rows:
        first, *others = row
        cells = [element("td", cell, class_="num" if _is_number(cell) else None) for cell in others]
        body.append(element("tr", join([element("th", first, scope="row"), *cells])))
    top = element("tr", join(element("th", cell, scope="col") for cell in head))
    inner = join([element("caption", caption), element("thead", top), element("tbody", join(body))])
    foot = element("p", note, class_="note") if str(note) else ""
    scroller = element(
        "div", element("table", inner, class_=class_ or None), class_="scroll", tabindex=0, role="region",
        aria_label=caption,
    )  # fmt: skip
    return element("div", join([scroller, foot]), class_="tablebox")


def _is_number(cell: object) -> bool:
    plain = str(cell).lstrip("−-+ ")
    return not isinstance(cell, Html) and bool(plain) and (plain[0].isdigit() or plain == DASH)


def chart(name: str, spec: Mapping[str, Any], title: str, caption: object, *, wide: bool = False) -> Html:
    """A chart: its specification as JSON beside the place where the script draws it.

    Args:
        name: Unique on the page.
        spec: Vega-Lite.
        title: Its heading.
        caption: What is seen; also the text for those who do not see it.
        wide: Across the whole page.
    """
    place = plot(name, spec, f"{title}. {plain(caption)}")
    box = join([element("h4", title), place, element("figcaption", caption)])
    return element("figure", box, class_="plot wide" if wide else "plot")


def plot(name: str, spec: Mapping[str, Any], label: str) -> Html:
    """The place of a chart and its specification; ``label`` is for those who do not see it."""
    place = element("div", class_="chart", id=f"chart-{name}", role="img", aria_label=label)
    return join([place, script_json(f"spec-{name}", spec)])


def script_json(name: str, value: Any) -> Html:
    """JSON that the script reads; safe inside HTML."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, default=str)
    for sign, code in (("<", "\\u003c"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029")):
        body = body.replace(sign, code)
    return Html(f'<script type="application/json" id="{escape(name)}">{body}</script>')


def plain(content: object) -> str:
    """HTML without its tags, for attributes."""
    return unescape(re.sub(r"<[^>]+>", "", str(content))) if isinstance(content, Html) else str(content)


def details(summary: object, content: object, *, opened: bool = False, printed: bool = False) -> Html:
    """A part that opens on request, and where ``printed`` also in print."""
    inner = join([element("summary", summary), content])
    return element("details", inner, open="open" if opened else None, data_print="yes" if printed else None)


def section(name: str, title: str, *content: object, lead: object = "") -> Html:
    """A section of the page."""
    head = join([element("h2", title), paragraph(lead, "lead")])
    return element("section", join([head, *content]), id=name)


def figure_text(value: float | None, digits: int = 3) -> str:
    """A number with a fixed number of decimals; a dash where it is undefined."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:.{digits}f}".replace("-", "−")


def interval_text(row: Mapping[str, Any] | None, digits: int = 3) -> str:
    """``0.912 (0.880–0.941)``; the mean alone where it has no interval."""
    if row is None or row.get("mean") is None:
        return DASH
    mean = figure_text(row["mean"], digits)
    if row.get("low") is None or row.get("high") is None:
        return mean
    dash = " to " if row["low"] < 0 else "–"
    return f"{mean} ({figure_text(row['low'], digits)}{dash}{figure_text(row['high'], digits)})"


def words(name: str) -> str:
    """An organ's name as it is read: ``left lung`` for ``left_lung``."""
    return name.replace("_", " ")


def and_list(items: Sequence[object]) -> str:
    """``a, b and c``."""
    names = [str(item) for item in items]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def count(number: int, one: str, many: str | None = None) -> str:
    """``1 scan``, ``2 scans``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
