"""The first screen: what was segmented, on whom, by what, how well against which baseline, and what needs a look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pipeline.report import charts
from pipeline.report.attention import Attention
from pipeline.report.data import CHAMPION, MEAN, Figures, Gathered
from pipeline.report.gallery import short_caption, view_figure
from pipeline.report.html import (
    DASH,
    Html,
    and_list,
    count,
    element,
    figure_text,
    interval_text,
    join,
    listed,
    paragraph,
    plot,
    text,
    words,
)
from pipeline.report.results import empty_note, spread_caption, spread_points, thinned
from pipeline.report.views import ScanView

SCANS = {"xray": "radiograph", "mri": "MRI volume", "ct": "CT volume", "photo": "photograph"}
_SHOWN = 5
_MOST_ROWS = 6


def first_screen(gathered: Gathered, attention: Sequence[Attention], hero: ScanView | None) -> Html:
    """All that a reader in a hurry wants to know."""
    left = element("div", join([_facts(gathered), _picture(gathered, hero)]), class_="col what")
    middle = element("div", _results(gathered), class_="col how")
    care = [element("div", part) for part in (_look(gathered, attention), _data(gathered))]
    right = element("div", join(care), class_="col care")
    return element("section", join([left, middle, right]), id="summary", class_="first", aria_label="Summary")


def _facts(gathered: Gathered) -> Html:
    organs = and_list([words(organ) for organ in gathered.organs])
    noun = (
        "picture" if gathered.is_flat and gathered.study.modality in {"mri", "ct"} else SCANS[gathered.study.modality]
    )
    cohort = f"{count(len(gathered.scans), noun)} of {count(gathered.patients, 'patient')}"
    rows = [
        ("Segmented", organs),
        ("Scans", join([cohort, _sites(gathered)])),
        ("Model", _model(gathered)),
    ]
    return element(
        "dl", join(element("div", join([element("dt", k), element("dd", v)])) for k, v in rows), class_="facts"
    )


def _sites(gathered: Gathered) -> str:
    site = gathered.study.evaluate.site
    if not site or not gathered.scans or site not in gathered.scans[0]:
        return ""
    patients = {(row["patient_id"], row[site] or "unnamed") for row in gathered.scans}
    counts = Counter(name for _, name in patients)
    named = ", ".join(f"{name} {n}" for name, n in sorted(counts.items())[:6])
    more = f" and {len(counts) - 6} more" if len(counts) > 6 else ""
    return f" from {count(len(counts), 'site')} ({named}{more})"


def _model(gathered: Gathered) -> str:
    champion = gathered.champion
    if champion is None:
        return "none chosen yet"
    networks = count(len(champion.members), "network")
    if gathered.study.model:
        return f"{champion.name} ({networks}), trained before on study {champion.study}, applied here"
    candidates = champion.evidence.get("candidates", [])
    among = f", chosen among {len(candidates)} candidates by out-of-fold Dice" if len(candidates) > 1 else ""
    return f"{champion.name} ({networks}){among}"


def _picture(gathered: Gathered, hero: ScanView | None) -> Html:
    if hero is None:
        return Html("")
    caption = short_caption(gathered, hero, "the median test scan" if gathered.test else "one of the scans")
    return view_figure(gathered, hero, "hero", "", caption)


def _results(gathered: Gathered) -> Html:
    test = gathered.test
    if test is None:
        reason = "No test patient with a mask was measured, so nothing is known of new patients."
        if gathered.oof is not None:
            reason += " The out-of-fold figures further down chose the model and are not test figures."
        return join([element("h2", "How well"), paragraph(reason, "warning")])
    what = f"{count(test.scans, 'scan')} of {count(test.patients, 'test patient')}"
    tail = "that no choice has seen" if not gathered.study.model else "of this study"
    mean = next(iter(test.summary(CHAMPION, MEAN, "dice")), None)
    big = [
        element("span", figure_text(mean["mean"] if mean else None), class_="big"),
        element("span", _interval(mean), class_="ci"),
    ]
    headline = element(
        "p", join([*big, element("span", "mean Dice over organs", class_="label")]), class_="headline"
    )  # fmt: skip
    return join(
        [
            element("h2", join(["How well ", element("small", f"{what} {tail}")])),
            headline,
            headline_table(gathered, test),
            paragraph(_below_baseline(gathered, test), "warning"),
            paragraph(str(test.facts.get("note") or ""), "note few"),
            _points(gathered, test),
        ]
    )


def _below_baseline(gathered: Gathered, test: Figures) -> str:
    """Says which organs the champion segments no better than a mask that looks at no scan."""
    beaten = []
    for organ in gathered.organs:
        means = [row["mean"] for m in (CHAMPION, test.baseline) for row in test.summary(m, organ, "dice")]
        if len(means) == 2 and None not in means and means[0] <= means[1]:
            beaten.append(words(organ))
    return f"No better than the baseline ({test.baseline}): {and_list(beaten)}." if beaten else ""


def _interval(row: dict[str, Any] | None) -> str:
    if row is None or row.get("low") is None:
        return "no interval: fewer than two patients"
    return f"95 % interval {figure_text(row['low'])}–{figure_text(row['high'])}"


def headline_table(gathered: Gathered, test: Figures) -> Html:
    """Organs with Dice, surface Dice and the baseline's Dice, each with its interval."""
    colors = gathered.study.colors()
    with_baseline = test.baseline in test.models
    surface = surface_title(test)
    low = charts.low_end(_lows(gathered, test))
    head = [
        "organ",
        "Dice (95 % interval)",
        f"{low:g} to 1",
        surface,
        *([f"baseline: {test.baseline}"] if with_baseline else []),
    ]
    rows = []
    for organ in [*gathered.organs, *([MEAN] if len(gathered.organs) > 1 else [])]:
        dice = next(iter(test.summary(CHAMPION, organ, "dice")), None)
        baseline = next(iter(test.summary(test.baseline, organ, "dice")), None)
        name = element("span", "", class_="chip", style=f"background:{colors[organ]}") if organ in colors else ""
        cells: list[object] = [
            join([name, "mean of organs" if organ == MEAN else words(organ)]),
            interval_text(dice),
            interval_bar(dice, baseline, colors.get(organ, "var(--ink)"), low),
            _surface(test, organ),
        ]
        if with_baseline:
            cells.append(figure_text(baseline["mean"]) if baseline else DASH)
        rows.append(cells)
    body = join(
        element("tr", join([element("th", first, scope="row"), *(element("td", cell) for cell in rest)]))
        for first, *rest in rows
    )
    top = element("thead", element("tr", join(element("th", cell, scope="col") for cell in head)))
    caption = element("caption", "The champion on test patients, per organ", class_="hidden")
    inner = element("table", join([caption, top, element("tbody", body)]), class_="headline-table")
    scroller = element("div", inner, class_="scroll", tabindex=0, role="region", aria_label="Figures on test patients")
    return join([scroller, empty_note(test, CHAMPION, short=True)])


def _points(gathered: Gathered, test: Figures) -> Html:
    """The champion's Dice of each patient, a row an organ."""
    points, limit = spread_points(test, [CHAMPION]), gathered.study.evaluate.dice_limit
    if not points or len(gathered.organs) > _MOST_ROWS:
        return Html("")
    low = charts.low_end([p["value"] for p in points])
    rows = [words(organ) for organ in gathered.organs]
    some, fewer = thinned(points)
    spec = charts.spread(some, rows, "organ", gathered.organs, gathered.study.colors(), limit, low)
    caption = element("figcaption", spread_caption(limit) + fewer)
    inner = [plot("spread-first", spec, "Dice of each test patient"), caption]
    return element("figure", join(inner))


def surface_title(test: Figures) -> str:
    """``surface Dice at 2 mm``; without the tolerance where organs or units have different ones."""
    used = {(row["nsd_tolerance"], row["unit"]) for row in test.rows if row.get("nsd_tolerance")}
    if len(used) == 1:
        tolerance, unit = used.pop()
        return f"surface Dice at {float(tolerance):g} {unit}"
    return "surface Dice"


def _surface(test: Figures, organ: str) -> str:
    found = test.summary(CHAMPION, organ, "nsd")
    if not found:
        return DASH
    several = len(found) > 1
    return "; ".join(interval_text(row) + (f" in {row['unit']}" if several else "") for row in found)


def _lows(gathered: Gathered, test: Figures) -> list[float]:
    """The low ends of what the small drawings show."""
    rows = [
        row for m in (CHAMPION, test.baseline) for o in [*gathered.organs, MEAN] for row in test.summary(m, o, "dice")
    ]
    ends = [row["low"] if row["low"] is not None and row["model"] == CHAMPION else row["mean"] for row in rows]
    return [end for end in ends if end is not None]


def interval_bar(row: dict[str, Any] | None, baseline: dict[str, Any] | None, color: str, least: float) -> Html:
    """A small drawing from ``least`` to 1: the interval as a bar, the mean as a dot, the baseline as a tick."""
    if row is None or row.get("mean") is None:
        return Html(DASH)

    def at(value: float) -> str:
        return f"{4 + 100 * max(value - least, 0) / (1 - least):.1f}"

    low = row["low"] if row.get("low") is not None else row["mean"]
    high = row["high"] if row.get("high") is not None else row["mean"]
    parts = ['<path class="track" d="M4 9H104"/>', f'<path class="ci" stroke="{color}" d="M{at(low)} 9H{at(high)}"/>']
    parts.append(f'<circle class="dot" cx="{at(row["mean"])}" cy="9" r="4.5" fill="{color}"/>')
    label = f"Dice {figure_text(row['mean'])} from {figure_text(low)} to {figure_text(high)}"
    if baseline is not None and baseline.get("mean") is not None:
        parts.append(f'<path class="baseline" d="M{at(baseline["mean"])} 2V16"/>')
        label += f", baseline {figure_text(baseline['mean'])}"
    return Html(f'<svg class="bar" viewBox="0 0 108 18" role="img" aria-label="{label}">{"".join(parts)}</svg>')


def _look(gathered: Gathered, attention: Sequence[Attention]) -> Html:
    judged = gathered.test is not None or bool(gathered.verdicts)
    if not attention:
        line = "No scan stands out." if judged else "Nothing was predicted yet."
        return join([element("h2", "Needs a look"), paragraph(line)])
    total = len({row["scan_id"] for row in gathered.predictions}) or (gathered.test.scans if gathered.test else 0)
    head = element("h2", join(["Needs a look ", element("small", f"{len(attention)} of {count(total, 'scan')}")]))
    items = [
        join([element("a", item.scan_id, href=f"#scan-{item.scan_id}"), " ", element("span", item.short, class_="why")])
        for item in attention[:_SHOWN]
    ]
    more = len(attention) - _SHOWN
    tail = paragraph(join([element("a", f"and {more} more", href="#scans")]), "note") if more > 0 else ""
    return join([head, listed(items, "looks"), tail])


def _data(gathered: Gathered) -> Html:
    rejected, found = gathered.rejected, gathered.with_findings
    given = len(gathered.scans) + len(rejected)
    lines: list[object] = []
    if rejected:
        lines.append(
            join([element("strong", f"{len(rejected)} of {count(given, 'row')} rejected: "), _reasons(gathered)])
        )
    if found:
        codes = Counter(code for _, pairs in found for code, _ in pairs)
        named = ", ".join(f"{code.replace('_', ' ')} {n}" for code, n in codes.most_common(4))
        lines.append(join([element("strong", f"{count(len(found), 'scan')} with findings: "), named]))
    failed = [row for row in gathered.predictions if row["status"] != "ok"]
    if failed:
        lines.append(element("strong", f"{count(len(failed), 'scan')} could not be predicted"))
    wrong = [row for row in gathered.checks if row["status"] == "failed"]
    if wrong:
        forms = and_list(sorted({row["format"] for row in wrong}))
        failed_checks = element("strong", f"{count(len(wrong), 'export check')} failed: ")
        lines.append(join([failed_checks, f"{forms} differ from what was predicted; do not use them"]))
    if not lines:
        lines = [f"All {count(given, 'row')} of the manifest were read, and nothing was found."]
    link = paragraph(element("a", "Data and its findings", href="#data"), "note")
    return join([element("h2", "Wrong in the data?"), listed(lines, "plainlist"), link])


def _reasons(gathered: Gathered) -> Html:
    shown = [f"{row['scan_id']} ({shortened(row['reason'], 60)})" for row in gathered.rejected[:2]]
    more = len(gathered.rejected) - 2
    return text("; ".join(shown) + (f"; and {more} more" if more > 0 else ""))


def shortened(sentence: str, most: int) -> str:
    """The sentence, cut at a word where it is longer than ``most`` characters."""
    if len(sentence) <= most:
        return sentence
    return sentence[:most].rsplit(" ", 1)[0].rstrip(",.;:") + " …"
