"""Data and its findings, and who was trained on, validated on and tested on."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from pipeline.report import charts
from pipeline.report.data import Gathered, Row, number
from pipeline.report.gallery import view_figure
from pipeline.report.html import (
    DASH,
    Html,
    chart,
    count,
    details,
    element,
    join,
    listed,
    paragraph,
    section,
    table,
    words,
)
from pipeline.report.results import thinned
from pipeline.report.views import open_view

_THUMBS = 12
_LISTED = 100
_THUMB_SIZE = 224


def data_section(gathered: Gathered) -> Html:
    """What was read, what was refused, what looks odd, and what the scans are like."""
    given = len(gathered.scans) + len(gathered.rejected)
    unlabelled = len(gathered.scans) - len(gathered.labelled)
    lead = (
        f"{count(given, 'row')} in the manifest: {count(len(gathered.scans), 'scan')} ingested"
        + (f" ({unlabelled} without a mask)" if unlabelled else "")
        + f", {len(gathered.rejected)} rejected."
    )
    return section(
        "data",
        "Data",
        _rejected(gathered),
        _findings(gathered),
        _sizes(gathered),
        _geometry(gathered),
        lead=lead,
    )


def _rejected(gathered: Gathered) -> Html:
    if not gathered.rejected:
        return paragraph("No row was rejected.")
    rows = [
        [row["scan_id"] or DASH, row["line"], row["code"], element("span", row["reason"])] for row in gathered.rejected
    ]
    head = ("scan", "line of the manifest", "kind", "reason")
    note = "A rejected row takes no part in anything. Mend it and run again: only its shard is read anew."
    more = len(rows) - _LISTED
    note += f" {count(more, 'more row')} in rejected.csv." if more > 0 else ""
    return join([element("h3", "Rejected"), table(head, rows[:_LISTED], caption="Rejected rows", note=note)])


def _findings(gathered: Gathered) -> Html:
    found = gathered.with_findings
    if not found:
        return paragraph("Nothing odd was found in the scans and masks that were ingested.")
    codes = Counter(code for _, pairs in found for code, _ in pairs)
    rarest = sorted(found, key=lambda pair: (min(codes[code] for code, _ in pair[1]), pair[0]["scan_id"]))
    figures = []
    for index, (row, pairs) in enumerate(rarest[:_THUMBS]):
        figures.append(_thumbnail(gathered, row, pairs, index))
    rows = [
        [
            row["scan_id"],
            join([element("span", f"{code.replace('_', ' ')}: {text}", class_="line") for code, text in pairs]),
        ]
        for row, pairs in rarest[:_LISTED]
    ]
    more = len(found) - len(rows)
    note = "A finding does not stop a scan: a person should look. Rare kinds come first."
    note += f" {count(more, 'more scan')} with findings in scans.csv." if more > 0 else ""
    inner = table(("scan", "findings"), rows, caption="Findings", note=note)
    kinds = ", ".join(f"{code.replace('_', ' ')} {n}" for code, n in codes.most_common())
    return join(
        [
            element("h3", "Findings"),
            paragraph(f"{count(len(found), 'scan')}: {kinds}."),
            element("div", join(figures), class_="thumbs"),
            details("All findings", inner, printed=True),
        ]
    )


def _thumbnail(gathered: Gathered, row: Row, pairs: Sequence[tuple[str, str]], index: int) -> Html:
    view = open_view(gathered.paths, row, predicted=False, size=_THUMB_SIZE, scroll=False)
    said = join([element("strong", row["scan_id"]), ": ", "; ".join(sentence for _, sentence in pairs)])
    if view is None:
        return element("figure", element("figcaption", join([said, "; its file cannot be read"])), class_="view")
    return view_figure(gathered, view, f"finding-{index}", "", said)


def size_unit(gathered: Gathered, row: Row) -> str:
    """Unit of a scan's volumes in ``scans.csv``."""
    if row["spacing_source"] == "unknown":
        return "px²" if gathered.is_flat else "voxels"
    return "cm²" if gathered.is_flat else "mL"


def _sizes(gathered: Gathered) -> Html:
    parts: list[Html] = []
    for unit in dict.fromkeys(size_unit(gathered, row) for row in gathered.labelled):
        points = [
            {"organ": organ, "scan": row["scan_id"], "size": size}
            for row in gathered.labelled
            if size_unit(gathered, row) == unit
            for organ in gathered.organs
            if (size := number(row.get(f"volume_{organ}"))) > 0
        ]
        if points:
            some, fewer = thinned(points)
            spec = charts.size_strips(some, gathered.organs, gathered.study.colors(), unit)
            caption = "Every bar is a scan with a mask: what stands far off may be drawn wrong." + fewer
            parts.append(chart(f"sizes-{len(parts)}", spec, "Sizes of the organs", caption, wide=True))
    return element("div", join(parts), class_="plots") if parts else Html("")


def _geometry(gathered: Gathered) -> Html:
    scans = gathered.scans
    if not scans:
        return Html("")
    axes = "xy" if gathered.is_flat else "xyz"
    rows: list[list[object]] = [
        ["size, voxels", *_ranges(scans, [f"size_{axis}" for axis in axes])],
        ["spacing, mm (px where unknown)", *_ranges(scans, [f"spacing_{axis}" for axis in axes])],
        ["grey values, 0.5th and 99.5th percentile", *_ranges(scans, ["low", "high"])],
    ]
    origins = Counter(row["spacing_source"] for row in scans)
    turned = Counter(row["orientation"] for row in scans)
    notes = [
        "Spacing known "
        + ", ".join(f"{_SPACING.get(name, name)} in {count(n, 'scan')}" for name, n in origins.most_common()),
        "stored orientation " + ", ".join(f"{name} in {n}" for name, n in turned.most_common(5)),
    ]
    annotated = Counter(organ for row in gathered.labelled for organ in row["annotated"].split(";") if organ)
    present = Counter(organ for row in gathered.labelled for organ in row["organs"].split(";") if organ)
    seen = [
        f"{words(organ)}: annotated in {annotated[organ]}, present in {present[organ]} of "
        f"{count(len(gathered.labelled), 'labelled scan')}"
        for organ in gathered.organs
    ]
    inner = join(
        [
            table(
                ("", "smallest", "median", "largest"),
                rows,
                caption="Geometry and grey values",
                note="; ".join(notes) + ".",
            ),
            listed(seen),
        ]
    )
    return details("Geometry, grey values and annotation", inner, printed=True)


_SPACING = {"patient": "in the patient", "detector": "at the detector (magnified)", "unknown": "not at all (pixels)"}


def _ranges(scans: Sequence[Row], columns: Sequence[str]) -> list[str]:
    def each(pick: Callable[[list[float]], float]) -> str:
        values = [sorted(v for row in scans if math.isfinite(v := number(row[column]))) for column in columns]
        return " × ".join(f"{pick(own):.4g}" if own else DASH for own in values)

    return [each(lambda own: own[0]), each(lambda own: own[len(own) // 2]), each(lambda own: own[-1])]


def split_section(gathered: Gathered) -> Html:
    """Patients and scans of each part."""
    if not gathered.splits:
        line = (
            "Nothing was split: the study applies a trained model to all of its scans."
            if gathered.study.model
            else "The patients have not been split yet."
        )
        return section("split", "Split", paragraph(line))
    members: dict[str, list[Row]] = defaultdict(list)
    for row in gathered.scans:
        members[_part_of(gathered, row["patient_id"])].append(row)
    rows = []
    for part in sorted(members):
        scans = members[part]
        labelled = sum(row["labelled"] == "1" for row in scans)
        patients = len({row["patient_id"] for row in scans})
        rows.append([part, str(patients), str(len(scans)), str(labelled)])
    folds = gathered.study.split.folds
    origin = Counter(place.origin for place in gathered.splits.values())
    how = (
        "one validation split" if folds == 1 else f"{folds}-fold cross-validation"
    ) + f" of the development patients; {origin['manifest']} patients placed by the manifest, {origin['drawn']} drawn"
    note = f"{how} with seed {gathered.study.split.seed}. A patient's scans are never in two parts."
    inner = table(("part", "patients", "scans", "with a mask"), rows, caption="Patients in each part", note=note)
    return section("split", "Split", inner, lead="By patient, never by file.")


def _part_of(gathered: Gathered, patient: str) -> str:
    place = gathered.splits.get(patient)
    if place is None:
        return "in no part"
    if place.split == "test":
        return "test"
    if place.fold is None:
        return "development, always trained on"
    if gathered.study.split.folds == 1:
        return "development, validation"
    return f"development, fold {place.fold}"
