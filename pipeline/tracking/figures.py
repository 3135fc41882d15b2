"""Figures of a study as tables for people: Markdown headlines, and a picture of how Dice is spread."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from pipeline.core.files import read_table
from pipeline.core.manifest import manifest_path
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.tracking.names import safe_part

Row = Mapping[str, str]
MEAN = "mean"
#: Figures that become metrics of a run, in the order in which people ask for them.
HEADLINES = ("dice", "nsd", "hd95", "assd", "volume_difference")
LABELS = {
    "dice": "Dice",
    "nsd": "surface Dice",
    "hd95": "HD95",
    "assd": "mean surface distance",
    "volume_difference": "volume difference",
}
PARTS = {"test": "test", "oof": "out of fold"}


def metric_key(part: str, metric: str, organ: str, unit: str = "", end: str = "") -> str:
    """Key of a final figure, in words that a column's head can hold.

    The ends of an interval stand in a group of their own, so that charts show the figures side by side.

    >>> metric_key("oof", "hd95", "heart", "mm", "low")
    'out of fold HD95 mm interval/heart low'

    Args:
        part: ``test`` or ``oof``.
        metric: A name in :data:`LABELS`.
        organ: Part of a key that stands for an organ.
        unit: Unit, which is part of the name: lengths in pixels are another metric than lengths in mm.
        end: ``low``, ``high``, or empty for the figure itself.
    """
    group = " ".join(word for word in (PARTS[part], LABELS[metric], safe_part(unit) if unit else "") if word)
    return f"{group} interval/{organ} {end}" if end else f"{group}/{organ}"


def summary_rows(paths: StudyPaths, part: str) -> list[dict[str, str]]:
    """Rows of a part's ``summary.csv`` over all scans, subgroups left out; none where it is absent."""
    path = paths.metrics(part) / "summary.csv"
    if not path.is_file():
        return []
    return [row for row in read_table(path) if not row.get("subgroup")]


def per_scan_rows(study: Study, paths: StudyPaths, part: str) -> list[dict[str, str]]:
    """Rows of a part's ``per_scan.csv``, without what must stay behind.

    That is the patients' ids, and those columns of the manifest that the study does not name as subgroups or site:
    nobody knows what stands in them.
    """
    path = paths.metrics(part) / "per_scan.csv"
    if not path.is_file():
        return []
    manifest = manifest_path(paths.study, paths.root)
    columns = set(read_table(manifest)[0]) if manifest.is_file() else set()
    kept = {"scan_id", *study.evaluate.subgroups, study.evaluate.site}
    left_out = {"patient_id", *columns} - kept
    return [{k: v for k, v in row.items() if k not in left_out} for row in read_table(path)]


def number(text: str | None) -> float | None:
    """A cell's number; ``None`` where it is empty or not finite."""
    value = float(text) if text else math.nan
    return value if math.isfinite(value) else None


def with_interval(row: Row, digits: int = 3) -> str:
    """``0.912 (0.88–0.94)``."""
    mean, low, high = (number(row.get(name)) for name in ("mean", "low", "high"))
    if mean is None:
        return "–"
    ends = "" if low is None or high is None else f" ({low:.{digits}f}–{high:.{digits}f})"
    return f"{mean:.{digits}f}{ends}"


def headline_table(parts: Mapping[str, Sequence[Row]], organs: Iterable[str]) -> str:
    """Markdown: a row an organ, the mean of all first, with Dice on each part and HD95 on the test.

    Args:
        parts: Title of a column → rows of one model's summary.
        organs: The organs in order.
    """
    titles = [title for title, rows in parts.items() if rows]
    if not titles:
        return ""
    lengths = [row for row in parts[titles[0]] if row["metric"] == "hd95"]
    units = {row.get("unit", "") for row in lengths if number(row.get("mean")) is not None}
    unit = units.pop() if len(units) == 1 else None
    head = ["organ", *(f"Dice, {title}" for title in titles), *([f"HD95 {unit}, {titles[0]}"] if unit else [])]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for organ in (MEAN, *organs):
        cells = [_cell(parts[title], organ, "dice", 3) for title in titles]
        if unit:
            cells.append(_cell(parts[titles[0]], organ, "hd95", 1))
        name = "**mean of organs**" if organ == MEAN else organ
        lines.append("| " + " | ".join([name, *cells]) + " |")
    counts = [_counted(title, parts[title]) for title in titles]
    note = "Means over patients with 95 % bootstrap intervals; " + "; ".join(part for part in counts if part)
    return "\n".join([*lines, "", f"{note}."])


def _cell(rows: Sequence[Row], organ: str, metric: str, digits: int) -> str:
    found = next((row for row in rows if (row["organ"], row["metric"]) == (organ, metric)), None)
    return with_interval(found, digits) if found else "–"


def _counted(title: str, rows: Sequence[Row]) -> str:
    found = next((row for row in rows if (row["organ"], row["metric"]) == (MEAN, "dice")), None)
    return f"{title}: {found['n_patients']} patients, {found['n_scans']} scans" if found else ""


def spread_picture(rows: Sequence[Row], organs: Sequence[str], colors: Mapping[str, str], title: str) -> str:
    """SVG: every scan's Dice as a dot, a line an organ, with a bar at the median.

    Args:
        rows: Rows of single scans of one model.
        organs: The organs in order.
        colors: Organ → ``#rrggbb``.
        title: A line above.
    """
    left, width, line, top = 150, 520, 34, 46
    height = top + line * len(organs) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 40}" height="{height}" '
        'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="16" y="24" font-size="15">{escape(title)}</text>',
    ]
    for tick in range(0, 11, 2):
        x = left + width * tick / 10
        parts.append(f'<path d="M{x:.0f} {top}V{height - 30}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.0f}" y="{height - 12}" text-anchor="middle" fill="#555">{tick / 10:g}</text>')
    for index, organ in enumerate(organs):
        y = top + line * index + line / 2
        values = sorted(v for row in rows if row["organ"] == organ and (v := number(row.get("dice"))) is not None)
        parts.append(f'<text x="{left - 10}" y="{y + 4:.0f}" text-anchor="end">{escape(organ)}</text>')
        for rank, value in enumerate(values):
            # Neighbours in rank are set apart in height, so that equal values stay countable.
            shift = (rank % 5 - 2) * 4
            place = f'cx="{left + width * value:.1f}" cy="{y + shift:.1f}"'
            parts.append(f'<circle {place} r="3" fill="{colors.get(organ, "#555")}" fill-opacity="0.6"/>')
        if values:
            middle = left + width * (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2
            parts.append(f'<path d="M{middle:.1f} {y - 13:.0f}v26" stroke="black" stroke-width="2"/>')
    return "".join([*parts, "</svg>\n"])
