"""The gallery: the worst, median and best test scans with both outlines, and all scans in one table."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pipeline.report.attention import Attention
from pipeline.report.data import CHAMPION, Gathered, number
from pipeline.report.html import (
    DASH,
    Html,
    count,
    element,
    figure_text,
    join,
    paragraph,
    script_json,
    section,
    table,
    words,
)
from pipeline.report.results import empty_note
from pipeline.report.views import ScanView, Slice, open_view

WORST, MIDDLE, BEST = 6, 3, 3
_UNLABELLED = 6
_MOST_ROWS = 300
#: Bytes of pictures that the gallery may take; later scans then show one slice instead of all.
_BUDGET = 5_000_000


def chosen_scans(gathered: Gathered) -> list[tuple[str, str]]:
    """Scans of the gallery with why they are in it: worst, median and best mean Dice of the champion.

    Without any figure, the scans that the verdicts find worst.
    """
    means = gathered.test.scan_means(CHAMPION) if gathered.test else {}
    order = sorted(means, key=lambda scan: (means[scan], scan))
    if not order:
        risks: dict[str, float] = defaultdict(float)
        for row in gathered.verdicts:
            risks[row["scan_id"]] = max(risks[row["scan_id"]], number(row["risk"]))
        worst = sorted(risks, key=lambda scan: (-risks[scan], scan))[:_UNLABELLED]
        return [("most suspicious", scan) for scan in worst]
    if len(order) <= WORST + MIDDLE + BEST:
        middle = median_scan(means)
        names = {order[0]: "worst", middle: "median", order[-1]: "best"}
        return [(names.get(scan, ""), scan) for scan in order]
    centre = len(order) // 2 - MIDDLE // 2
    picked = [("worst", scan) for scan in order[:WORST]]
    picked += [("median", scan) for scan in order[max(centre, WORST) : max(centre, WORST) + MIDDLE]]
    picked += [("best", scan) for scan in order[-BEST:]]
    return list({scan: (why, scan) for why, scan in picked}.values())


def median_scan(means: Mapping[str, float]) -> str:
    """The scan in the middle of the order."""
    order = sorted(means, key=lambda scan: (means[scan], scan))
    return order[len(order) // 2]


def hero_view(gathered: Gathered) -> ScanView | None:
    """The picture of the first screen: the median test scan, or else the first that was predicted or ingested."""
    means = gathered.test.scan_means(CHAMPION) if gathered.test else {}
    predicted = [row["scan_id"] for row in gathered.predictions if row["status"] == "ok"]
    names = [median_scan(means)] if means else [*predicted, *gathered.by_scan]
    row = gathered.by_scan.get(names[0]) if names else None
    return open_view(gathered.paths, row, predicted=True, scroll=False) if row else None


def gallery_section(gathered: Gathered) -> Html:
    """Pictures of chosen scans."""
    figures, spent = [], 0
    missing = []
    for index, (why, scan) in enumerate(chosen_scans(gathered)):
        row = gathered.by_scan.get(scan)
        view = open_view(gathered.paths, row, predicted=True, scroll=spent < _BUDGET) if row else None
        if view is None:
            missing.append(scan)
            continue
        spent += sum(len(one.image) for one in view.slices)
        figures.append(view_figure(gathered, view, f"case-{index}", why))
    if not figures:
        return section("gallery", "Gallery", paragraph("There is no prediction to show."))
    measured = gathered.test is not None
    lead = (
        "Coloured lines: the champion. White dashes: the reference. " if measured else "Coloured lines: the champion. "
    )
    lead += "Volumes scroll: mouse wheel, arrow keys, or a finger on the slider. " if not gathered.is_flat else ""
    lead += "R is the patient's right." if gathered.study.modality != "photo" else ""
    gone = paragraph(f"Not drawn, their files cannot be read: {', '.join(missing)}.", "note") if missing else ""
    return section(
        "gallery",
        "Gallery, worst first" if measured else "Gallery",
        _switches(gathered, measured=measured),
        element("div", join(figures), class_="gallery"),
        gone,
        lead=lead,
    )


def _switches(gathered: Gathered, *, measured: bool) -> Html:
    """Check boxes that show and hide outlines everywhere."""
    boxes = [_switch("prediction", "champion")]
    if measured:
        boxes.append(_switch("reference", "reference"))
    legend = element("span", join(_chip(c, words(organ)) for organ, c in gathered.study.colors().items()))
    return element("div", join([*boxes, legend]), class_="switches")


def _switch(name: str, label: str) -> Html:
    box = Html(f'<input type="checkbox" checked data-outline="{name}">')
    return element("label", join([box, " ", label]))


def view_figure(gathered: Gathered, view: ScanView, name: str, why: str, caption: Html | None = None) -> Html:
    """A scan with its outlines, a slider where it has several slices, and its figures below."""
    colors = gathered.study.colors()
    first = view.slices[view.start]
    picture = Html(
        f'<svg viewBox="0 0 {view.width} {view.height}" role="img" aria-label="{escape(_alt(gathered, view))}">'
        f'<image href="{first.image}" width="{view.width}" height="{view.height}"/>'
        f"{_paths(first, colors)}{_sides(view)}</svg>"
    )
    parts: list[object] = [element("div", picture, class_="stage")]
    if len(view.slices) > 1:
        parts.append(_slider(view, name))
        frames = [[one.image, one.number, one.prediction, one.reference] for one in view.slices]
        parts.append(script_json(f"frames-{name}", frames))
    parts.append(element("figcaption", case_caption(gathered, view, why) if caption is None else caption))
    scrolls = {"data_view": name, "data_depth": view.depth} if len(view.slices) > 1 else {}
    anchor = f"scan-{view.scan_id}" if name.startswith("case-") else None
    return element("figure", join(parts), class_="view", id=anchor, **scrolls)


def _slider(view: ScanView, name: str) -> Html:
    last = len(view.slices) - 1
    return Html(
        f'<div class="slider"><input type="range" min="0" max="{last}" value="{view.start}" step="1" '
        f'aria-label="Slice of {view.scan_id}" aria-valuetext="slice {view.slices[view.start].number} of {view.depth}">'
        f'<output id="at-{name}">{view.slices[view.start].number}/{view.depth}</output></div>'
    )


def _paths(one: Slice, colors: Mapping[str, str]) -> str:
    drawn = [
        f'<path class="prediction" data-organ="{escape(organ)}" stroke="{color}" d="{one.prediction.get(organ, "")}"/>'
        for organ, color in colors.items()
    ]
    drawn += [
        f'<path class="reference" data-organ="{escape(organ)}" d="{one.reference.get(organ, "")}"/>' for organ in colors
    ]
    return "".join(drawn)


def _sides(view: ScanView) -> str:
    if not view.left:
        return ""
    middle = view.height / 2
    size = max(11, view.width // 26)
    return (
        f'<text class="side" x="6" y="{middle:.0f}" font-size="{size}">{view.left}</text>'
        f'<text class="side" x="{view.width - 6}" y="{middle:.0f}" font-size="{size}" text-anchor="end">'
        f"{view.right}</text>"
    )


def _scores(gathered: Gathered, scan: str) -> list[tuple[str, float]]:
    rows = gathered.test.rows if gathered.test else []
    return [(r["organ"], number(r["dice"])) for r in rows if r["scan_id"] == scan and r["model"] == CHAMPION]


def _alt(gathered: Gathered, view: ScanView) -> str:
    scores = ", ".join(f"{words(o)} Dice {figure_text(d, 2)}" for o, d in _scores(gathered, view.scan_id))
    return f"Scan {view.scan_id} with outlines of champion and reference. {scores}"


def short_caption(gathered: Gathered, view: ScanView, why: str) -> Html:
    """Which scan, and the organs' colours with their Dice where it is known."""
    colors, scores = gathered.study.colors(), _scores(gathered, view.scan_id)
    known = [(organ, f" {figure_text(dice, 2)}") for organ, dice in scores] or [(organ, "") for organ in colors]
    chips = [_chip(colors[organ], words(organ) + score) for organ, score in known]
    tail = " Lines: champion; dashes: reference." if scores else " Dashes: reference." if gathered.labelled else ""
    return join([element("strong", view.scan_id), f", {why}: ", *chips, tail])


def case_caption(gathered: Gathered, view: ScanView, why: str) -> Html:
    """Which scan, why it is here, its figures, and what was thought of it without the reference."""
    colors = gathered.study.colors()
    lines = [join([element("strong", view.scan_id), f", {why}" if why else ""])]
    lines.append(join(_chip(colors[o], f"{words(o)} {figure_text(d, 2)}") for o, d in _scores(gathered, view.scan_id)))
    verdicts = [r for r in gathered.verdicts if r["scan_id"] == view.scan_id and r["verdict"] != "good"]
    if verdicts:
        judged = "; ".join(f"{words(r['organ'])}: {r['reasons'].split('; ')[0]}" for r in verdicts)
        lines.append(element("span", f"Judged without the reference: {judged}", class_="why"))
    return join(element("span", line, class_="line") for line in lines if str(line))


def _chip(color: str, label: str) -> Html:
    dot = element("span", "", class_="chip", style=f"background:{color}")
    return element("span", join([dot, label]), class_="entry")


def scans_section(gathered: Gathered, attention: Sequence[Attention]) -> Html:
    """Every predicted scan, those that need a look first."""
    reasons = {one.scan_id: one for one in attention}
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    for row in gathered.test.rows if gathered.test else []:
        if row["model"] == CHAMPION:
            scores[row["scan_id"]][row["organ"]] = number(row["dice"])
    names = list(dict.fromkeys([*(row["scan_id"] for row in gathered.predictions), *scores]))
    if not names:
        return Html("")
    verdicts = _worst_verdicts(gathered)
    place = {one.scan_id: index for index, one in enumerate(attention)}
    names.sort(key=lambda scan: (place.get(scan, len(place)), _lowest(scores.get(scan, {})), scan))
    rows = []
    drawn = {scan for _, scan in chosen_scans(gathered)}
    for scan in names[:_MOST_ROWS]:
        own = scores.get(scan, {})
        why = reasons[scan].reasons if scan in reasons else []
        cells = [figure_text(own.get(organ)) for organ in gathered.organs]
        verdict = verdicts.get(scan, "") or ("no prediction" if scan in reasons and not own else "")
        name = scan if scan in drawn else element("span", scan, id=f"scan-{scan}")
        rows.append([name, *cells, verdict or DASH, element("span", "; ".join(why), class_="why")])
    head = ("scan", *(f"{words(organ)}, Dice" for organ in gathered.organs), "verdict", "why to look")
    note = (
        f"The {_MOST_ROWS} first of {count(len(names), 'scan')}; all are in metrics/test/per_scan.csv."
        if len(names) > _MOST_ROWS
        else ""
    )
    note += (
        " A verdict is given without the reference, from what is usual in the development patients: good, look or fail."
        if verdicts
        else ""
    )
    rule = empty_note(gathered.test, CHAMPION, short=True) if gathered.test else ""
    lead = f"Those that need a look first: below Dice {gathered.study.evaluate.dice_limit:g}, or judged suspicious."
    inner = table(head, rows, caption="Scans with the champion's figures", note=note.strip(), class_="sortable")
    return section("scans", "All predicted scans", inner, rule, lead=lead)


def _lowest(own: Mapping[str, Any]) -> float:
    return min((value for value in own.values() if math.isfinite(value)), default=1.0)


def _worst_verdicts(gathered: Gathered) -> dict[str, str]:
    worst: dict[str, str] = {}
    for rank in ("good", "look", "fail"):
        worst |= {row["scan_id"]: rank for row in gathered.verdicts if row["verdict"] == rank}
    return worst
