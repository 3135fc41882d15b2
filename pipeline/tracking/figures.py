"""Figures of a study as metrics of a run, and as tables for people: Markdown headlines, and a champion's card."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.core.files import Cells, number, read_table
from pipeline.core.manifest import manifest_path
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.metrics.empty import PRESENCE
from pipeline.tracking.names import ALL, metric_names, registered_name, safe_part

if TYPE_CHECKING:
    from pipeline.inference.champion import Champion

MEAN = "mean"
#: Figures that become metrics of a run, in the order in which people ask for them.
LABELS = {
    "dice": "Dice",
    "nsd": "surface Dice",
    "hd95": "HD95",
    "assd": "mean surface distance",
    "volume_difference": "volume difference",
    "dice_present": "Dice where present",
    "false_alarm": "false alarms",
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


def summary_rows(paths: StudyPaths, part: str) -> list[Cells]:
    """Rows of a part's ``summary.csv`` over all scans, subgroups left out; none where it is absent."""
    path = paths.metrics(part) / "summary.csv"
    if not path.is_file():
        return []
    return [row for row in read_table(path) if not row.get("subgroup")]


def per_scan_rows(study: Study, paths: StudyPaths, part: str) -> list[Cells]:
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


def final_metrics(summaries: Mapping[str, Sequence[Cells]], organs: Sequence[str]) -> dict[str, float]:
    """Metric key → value, such as ``test Dice/heart``; see :func:`metric_key`.

    The mean of the organs is ``test Dice/all organs``; an organ of that name would be numbered.

    Args:
        summaries: ``test`` and ``oof`` → rows of one model's summary.
        organs: The organs in order.
    """
    names = metric_names([ALL, *organs]) | {MEAN: ALL}
    return {
        # Six digits are more than any of these figures means, and columns stay narrow.
        metric_key(part, row["metric"], names[row["organ"]], row.get("unit", ""), end): round(value, 6)
        for part, rows in summaries.items()
        for row in rows
        if row["metric"] in LABELS and row["organ"] in names
        if row["metric"] not in PRESENCE or row["organ"] in _lacked(rows)
        for end in ("", "low", "high")
        if math.isfinite(value := number(row.get(end or "mean")))
    }


def _lacked(rows: Sequence[Cells]) -> set[str]:
    """Organs that some scan lacks: of the others, Dice where present is Dice again, and false alarms are undefined."""
    return {row["organ"] for row in rows if row["metric"] == "false_alarm" and math.isfinite(number(row.get("mean")))}


def with_interval(row: Cells | None, digits: int = 3) -> str:
    """``0.912 (0.880–0.941)``; a dash where there is no figure."""
    mean, low, high = (number(row.get(name)) if row else math.nan for name in ("mean", "low", "high"))
    if math.isnan(mean):
        return "–"
    ends = f" ({low:.{digits}f}–{high:.{digits}f})" if math.isfinite(low + high) else ""
    return f"{mean:.{digits}f}{ends}"


def headline_table(parts: Mapping[str, Sequence[Cells]], organs: Iterable[str]) -> str:
    """Markdown: a row an organ, the mean of all first, with Dice on each part and HD95 on the test.

    Args:
        parts: Title of a column → rows of one model's summary.
        organs: The organs in order.
    """
    parts = {title: rows for title, rows in parts.items() if rows}
    if not parts:
        return ""
    first = next(iter(parts))
    units = {row["unit"] for row in parts[first] if row["metric"] == "hd95" and row["mean"]}
    unit = units.pop() if len(units) == 1 else None
    lacked = {title for title, rows in parts.items() if _lacked(rows)}
    head = ["organ", *(f"Dice, {title}" for title in parts), *([f"HD95 {unit}, {first}"] if unit else [])]
    head += [f"{LABELS[figure]}, {title}" for title in parts if title in lacked for figure in PRESENCE]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for organ in (MEAN, *organs):
        cells = [with_interval(_row(rows, organ, "dice")) for rows in parts.values()]
        if unit:
            cells.append(with_interval(_row(parts[first], organ, "hd95"), 1))
        cells += [
            with_interval(_row(rows, organ, figure), 3)
            for title, rows in parts.items()
            if title in lacked
            for figure in PRESENCE
        ]
        name = "**mean of organs**" if organ == MEAN else organ
        lines.append("| " + " | ".join([name, *cells]) + " |")
    means = {title: _row(rows, MEAN, "dice") for title, rows in parts.items()}
    counts = [f"{title}: {row['n_patients']} patients, {row['n_scans']} scans" for title, row in means.items() if row]
    return "\n".join([*lines, "", f"Means over patients with 95 % bootstrap intervals; {'; '.join(counts)}."])


def _row(rows: Sequence[Cells], organ: str, metric: str) -> Cells | None:
    return next((row for row in rows if (row["organ"], row["metric"]) == (organ, metric)), None)


def model_card(study: Study, paths: StudyPaths, champion: Champion) -> str:
    """Markdown for the registry and the champion's run: its figures, how to get it, and the card that it carries.

    Out of fold, the figures are those of its models.
    """
    card = paths.champion / "card.md"
    oof = summary_rows(paths, "oof")
    parts = {"test": [row for row in summary_rows(paths, "test") if row["model"] == "champion"]}
    for model in sorted({member.model for member in champion.members}):
        parts[f"out of fold, {model}"] = [row for row in oof if row["model"] == model]
    words = [
        # Lists of versions show the first line as it is written.
        f"{study.title or paths.study}: {', '.join(champion.organs)}",
        headline_table(parts, champion.organs),
        f"`organseg predict SCAN --model models:/{registered_name(paths.study)}@champion --out DIR`",
        card.read_text(encoding="utf-8") if card.is_file() else "",
    ]
    return "\n\n".join(part.strip() for part in words if part)
