"""Data and its findings, and who was trained on, validated on and tested on."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.core.files import Cells
from pipeline.core.units import length_unit, size_unit
from pipeline.report import charts
from pipeline.report.data import Gathered, number
from pipeline.report.gallery import Picture
from pipeline.report.text import DASH, count
from pipeline.report.views import open_view

_THUMBS = 12
_LISTED = 100
_THUMB_SIZE = 224
_SPACING = {"patient": "in the patient", "detector": "at the detector (magnified)", "unknown": "not at all (pixels)"}


def data(gathered: Gathered) -> dict[str, Any]:
    """What was read, what was refused, what looks odd, and what the scans are like."""
    found = gathered.with_findings
    codes = Counter(code for _, pairs in found for code, _ in pairs)
    rarest = sorted(found, key=lambda pair: (min(codes[code] for code, _ in pair[1]), pair[0]["scan_id"]))
    thumbs = []
    for row, pairs in rarest[:_THUMBS]:
        one = open_view(gathered.paths, row, predicted=False, size=_THUMB_SIZE, scroll=False)
        said = "; ".join(sentence for _, sentence in pairs)
        thumbs.append({"scan": row["scan_id"], "said": said, "picture": one and Picture(gathered, one)})
    return {
        "most": _LISTED,
        "codes": codes.most_common(),
        "thumbs": thumbs,
        "findings": rarest,
        "sizes": _sizes(gathered),
        "geometry": _geometry(gathered) if gathered.scans else None,
    }


def _sizes(gathered: Gathered) -> list[dict[str, Any]]:
    """A chart of the organs' sizes for each unit."""
    points: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in gathered.labelled:
        unit = size_unit(length_unit(row["spacing_source"]), flat=gathered.is_flat)
        for organ in gathered.organs:
            if (size := number(row.get(f"volume_{organ}"))) > 0:
                points[unit].append({"organ": organ, "scan": row["scan_id"], "size": size})
    return [charts.size_strips(gathered, own, unit) for unit, own in points.items()]


def _geometry(gathered: Gathered) -> dict[str, Any]:
    axes = "xy" if gathered.is_flat else "xyz"
    columns = {
        "size, voxels": [f"size_{axis}" for axis in axes],
        "spacing, mm (px where unknown)": [f"spacing_{axis}" for axis in axes],
        "grey values, 0.5th and 99.5th percentile": ["low", "high"],
    }
    origins = Counter(row["spacing_source"] for row in gathered.scans).most_common()
    turned = Counter(row["orientation"] for row in gathered.scans).most_common(5)
    return {
        "rows": [[name, *_ranges(gathered.scans, own)] for name, own in columns.items()],
        "spacing": ", ".join(f"{_SPACING.get(name, name)} in {count(n, 'scan')}" for name, n in origins),
        "orientation": ", ".join(f"{name} in {n}" for name, n in turned),
        **{
            column: Counter(organ for row in gathered.labelled for organ in row[column].split(";") if organ)
            for column in ("annotated", "organs")
        },
    }


def _ranges(scans: Sequence[Cells], columns: Sequence[str]) -> list[str]:
    """Smallest, median and largest of each column."""
    values = [sorted(v for row in scans if math.isfinite(v := number(row[column]))) for column in columns]

    def each(place: Callable[[int], int]) -> str:
        return " × ".join(f"{own[place(len(own))]:.4g}" if own else DASH for own in values)

    return [each(lambda n: 0), each(lambda n: n // 2), each(lambda n: n - 1)]


def split(gathered: Gathered) -> dict[str, Any]:
    """Patients and scans of each part."""
    members: dict[str, list[Cells]] = defaultdict(list)
    for row in gathered.scans if gathered.splits else ():
        members[_part_of(gathered, row["patient_id"])].append(row)
    rows = [
        [
            part,
            str(len({row["patient_id"] for row in members[part]})),
            str(len(members[part])),
            str(sum(row["labelled"] == "1" for row in members[part])),
        ]
        for part in sorted(members)
    ]
    return {"rows": rows, "origin": Counter(place.origin for place in gathered.splits.values())}


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
