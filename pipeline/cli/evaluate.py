"""``organseg evaluate PRED REF``: figures of two files or two folders of masks, without a study."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.evaluate import Comparison
    from pipeline.formats.mask_folder import Layout

Columns = list[tuple[str, str]]


def evaluate_files(
    prediction: Path,
    reference: Path,
    *,
    organs: str | None = None,
    spacing: str | None = None,
    convention: str = "organseg",
    dialect: str | None = None,
    layout: str | None = None,
    csv: Path | None = None,
    as_json: bool = False,
) -> int:
    """Measure two files or folders and print the figures.

    Args:
        prediction: File or folder of masks.
        reference: File or folder of masks to measure against.
        organs: ``1=liver,2=spleen``, or names for the values 1, 2, ….
        spacing: mm along each axis, ``0.5,0.5`` or ``1,1,3``.
        convention: Rule for empty masks.
        dialect: Dialect of files of run lengths that do not name their own.
        layout: How the paths in folders are to be read: ``scan``, ``scan/organ`` or ``organ/scan``.
        csv: File for the rows.
        as_json: Print JSON rather than a table.

    Returns:
        The exit code: 0, or 3 where some scans could not be measured.

    Raises:
        InputError: What was given cannot be read or does not match.
    """
    import json

    from pipeline.core.errors import EXIT_OK, EXIT_SOME_FAILED
    from pipeline.core.files import write_table
    from pipeline.core.labels import parse_organs
    from pipeline.evaluate import compare
    from pipeline.metrics.empty import check_convention, rule_text

    rule = check_convention(convention)
    compared = compare(
        prediction,
        reference,
        parse_organs(organs),
        spacing=parse_spacing(spacing),
        convention=rule,
        dialect=dialect,
        layout=_layout(layout),
    )
    if csv is not None:
        write_table(csv, compared.rows, compared.columns())
    if as_json:
        print(json.dumps(compared.facts(), indent=2, ensure_ascii=False))
    else:
        print("\n".join(_as_text(compared, rule_text(rule))))
    for name, reason in compared.failed.items():
        print(f"organseg: {name}: {reason}", file=sys.stderr)
    return EXIT_SOME_FAILED if compared.failed else EXIT_OK


def parse_spacing(text: str | None) -> tuple[float, ...] | None:
    """``0.5,0.5`` or ``1,1,3`` as mm along each axis.

    Raises:
        InputError: Those are not two or three numbers above 0.
    """
    from pipeline.core.errors import InputError

    if text is None:
        return None
    try:
        spacing = tuple(float(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        spacing = ()
    if len(spacing) not in {2, 3} or not all(0 < s < float("inf") for s in spacing):
        raise InputError(f"{text!r} is no spacing", where="--spacing", remedy="Write mm along each axis, as 0.5,0.5.")
    return spacing


def _layout(name: str | None) -> Layout | None:
    from pipeline.core.errors import InputError
    from pipeline.formats.mask_folder import LAYOUTS

    for layout in LAYOUTS:
        if layout == name:
            return layout
    if name is None:
        return None
    raise InputError(f"there is no layout {name!r}", where="--layout", remedy=f"Take one of {', '.join(LAYOUTS)}.")


def _as_text(compared: Comparison, rule: str) -> list[str]:
    scans = list(dict.fromkeys(row["scan_id"] for row in compared.rows))
    lines = [*compared.told, ""] if compared.told else []
    lines += _single(compared) if len(scans) == 1 else _many(compared, scans)
    lines += ["", rule]
    if compared.unmatched:
        shown = ", ".join(compared.unmatched[:5]) + (", …" if len(compared.unmatched) > 5 else "")
        lines.append(f"{len(compared.unmatched)} predictions have no reference and were not measured: {shown}")
    if compared.failed:
        lines.append(f"{len(compared.failed)} scans could not be measured.")
    return lines


def _figures(compared: Comparison, unit: str) -> Columns:
    return [
        ("dice", "Dice"),
        ("iou", "IoU"),
        ("precision", "precision"),
        ("recall", "recall"),
        ("hd95", f"HD95 {unit}"),
        ("assd", f"ASSD {unit}"),
        *((f"nsd_{t:g}", f"NSD {t:g} {unit}") for t in compared.tolerances),
    ]


def _single(compared: Comparison) -> list[str]:
    from pipeline.metrics.empty import CASE_WORDS

    rows = compared.rows
    unit, volume_unit = rows[0]["unit"], rows[0]["volume_unit"]
    figures = _figures(compared, unit)
    sizes = [("volume_ref", f"reference {volume_unit}"), ("volume_pred", f"predicted {volume_unit}")]
    table = [["organ", *(title for _, title in [*figures, *sizes]), "masks"]]
    for row in rows:
        cells = [_short(row.get(key, "")) for key, _ in [*figures, *sizes]]
        table.append([row["organ"], *cells, CASE_WORDS[row["case"]]])
    return _aligned(table)


def _many(compared: Comparison, scans: list[str]) -> list[str]:
    lines = [f"{len(scans)} scans; mean [95 % bootstrap interval by scan]"]
    units = dict.fromkeys(row["unit"] for row in compared.rows if row["unit"])
    for unit in units:
        # Precision, recall and ASSD stay in the CSV and JSON: with intervals the line grows too wide to read.
        figures = [f for f in _figures(compared, unit) if f[0] not in {"precision", "recall", "assd"}]
        cells = {(row["organ"], row["metric"]): row for row in compared.summary if row["unit"] in {"", unit}}
        organs = list(dict.fromkeys(row["organ"] for row in compared.summary))
        if any(row["metric"] == "false_alarm" and row["n_scans"] for row in compared.summary):
            figures[1:1] = [("dice_present", "Dice where present"), ("false_alarm", "false alarms")]
        table = [["organ", *(title for _, title in figures), "absent", "made up", "missed"]]
        for organ in organs:
            counts = cells[organ, "dice"]
            table.append(
                [
                    organ,
                    *(_interval(cells.get((organ, key))) for key, _ in figures),
                    *(str(counts.get(case, "")) for case in ("both_empty", "empty_reference", "empty_prediction")),
                ]
            )
        lines += ["", *_aligned(table)]
    return [*lines, "", *_lowest(compared)]


def _lowest(compared: Comparison, count: int = 5) -> list[str]:
    found = sorted((float(row["dice"]), row["scan_id"], row["organ"]) for row in compared.rows if row.get("dice"))
    return ["Lowest Dice: " + ", ".join(f"{scan} {organ} {value:.3f}" for value, scan, organ in found[:count])]


def _interval(row: dict[str, Any] | None) -> str:
    if row is None or not row["n_scans"]:
        return "–"
    bounds = "" if row["low"] != row["low"] else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['mean']:.3f}{bounds}"


def _short(cell: str) -> str:
    return f"{float(cell):.4f}" if cell else "–"


def _aligned(table: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in table
    ]
