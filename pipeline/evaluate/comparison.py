"""Two sets of masks compared without a study: a model with a reference, or one reader with another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.files import Cells
from pipeline.core.labels import LabelMap
from pipeline.core.scan import Grid
from pipeline.core.units import LengthUnit
from pipeline.evaluate.rows import measured_rows, missing_rows, table_columns
from pipeline.evaluate.sources import UNNAMED, ScanMasks, Source, open_source
from pipeline.evaluate.tables import Bootstrap, Record, defined, metric_names, summarise, with_means
from pipeline.metrics.empty import Convention, rule_text
from pipeline.metrics.organs import MetricSettings

#: The one model of such a comparison.
PREDICTION = "prediction"
#: Both sides are on one grid if no corner is off by more than this share of a voxel: header rounding, no shift.
_ROUNDING = 0.1
#: Columns that mean nothing where there is one model and no manifest.
_OWN = {"model", "subgroup", "group"}
_WORDS = {"scan_id", "patient_id", "model", "organ", "unit", "volume_unit", "case"}

Spacing = tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """What came of comparing two sets of masks.

    Attributes:
        convention: Rule for empty masks.
        tolerances: Of surface Dice, mm, or pixels where the spacing is unknown.
        rows: Per scan and organ, as in ``per_scan.csv``.
        summary: Over scans, each a patient of its own.
        failed: Scan → why it could not be measured.
        unmatched: Scans of the predictions that have no reference.
    """

    convention: Convention
    tolerances: tuple[float, ...]
    rows: list[Cells]
    summary: list[Record]
    failed: dict[str, str]
    unmatched: list[str]

    def columns(self) -> list[str]:
        """Columns of the rows, in order."""
        return table_columns(self.tolerances, lesions=False, ratio=False)

    def figures(self) -> list[Record]:
        """The rows with numbers as numbers; ``None`` for what is undefined or infinite."""
        return [{key: _value(key, cell) for key, cell in row.items()} for row in self.rows]

    def facts(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
        return {
            "convention": self.convention,
            "rule": rule_text(self.convention),
            "tolerances": list(self.tolerances),
            "scans": self.figures(),
            "summary": defined([{k: v for k, v in row.items() if k not in _OWN} for row in self.summary]),
            "failed": self.failed,
            "without_reference": self.unmatched,
        }


def _value(key: str, cell: str) -> Any:
    if key in _WORDS:
        return cell
    return None if not cell or cell in {"inf", "-inf"} else float(cell)


def compare(
    predictions: str | Path,
    references: str | Path,
    organs: Mapping[int, str] | None = None,
    *,
    spacing: Spacing | None = None,
    convention: Convention = "organseg",
    tolerances: tuple[float, ...] = (1.0, 2.0),
    dialect: str | None = None,
) -> Comparison:
    """Measure the masks of two files or two folders.

    Files of two folders are matched by name. A scan that cannot be measured is listed and stops no other; of two single
    files it is an error.

    Args:
        predictions: File or folder of masks in any format, or a file of run lengths.
        references: The same of the truth.
        organs: Value → organ; by default every value is an organ of its own.
        spacing: mm along each axis, for files that hold none.
        convention: Rule for empty masks.
        tolerances: Of surface Dice.
        dialect: Dialect of files of run lengths that do not name their own.

    Raises:
        InputError: Nothing is there, or nothing matches.
    """
    organs = organs or {}
    sides = open_source(Path(predictions), dialect), open_source(Path(references), dialect)
    pairs = _matched(*sides)
    rows: list[Cells] = []
    failed: dict[str, str] = {}
    for ours, theirs in pairs:
        head = {"scan_id": theirs, "patient_id": theirs, "model": PREDICTION}
        try:
            if ours is None:
                raise InputError("has no prediction", remedy="Files of two folders are matched by name.")
            first, second = _read_both(sides, ours, theirs, organs)
            rows += _measured(head, first, second, organs, spacing, convention, tolerances)
        except InputError as error:
            if len(pairs) == 1:
                raise
            failed[theirs] = str(error)
            settings = {name: MetricSettings() for name in organs.values()}
            rows += missing_rows(head, organs.values(), settings, flat=False)
    metrics = metric_names(rows, tolerances)
    summary = summarise(with_means(rows, metrics), metrics, Bootstrap())
    unmatched = sorted(set(sides[0].names()) - set(sides[1].names())) if len(pairs) > 1 else []
    return Comparison(convention, tolerances, rows, summary, failed, unmatched)


def _matched(prediction: Source, reference: Source) -> list[tuple[str | None, str]]:
    ours, theirs = prediction.names(), reference.names()
    if len(ours) == len(theirs) == 1:
        return [(ours[0], theirs[0])]
    known = set(ours)
    if not known & set(theirs):
        raise InputError(
            f"no mask has a name in common with those of {reference.path} ({ours[0]!r} and {theirs[0]!r}, for example)",
            where=str(prediction.path),
            remedy="Give two files, or two folders whose files have the same names.",
        )
    return [(name if name in known else None, name) for name in theirs]


def _read_both(
    sides: tuple[Source, Source], ours: str, theirs: str, organs: Mapping[int, str]
) -> tuple[ScanMasks, ScanMasks]:
    """Read both; a side that does not hold its grid is read on the other's."""
    if sides[0].needs_other(ours):
        truth = sides[1].read(theirs, organs, None)
        return sides[0].read(ours, organs, truth), truth
    prediction = sides[0].read(ours, organs, None)
    return prediction, sides[1].read(theirs, organs, prediction if sides[1].needs_other(theirs) else None)


def _measured(
    head: Mapping[str, str],
    prediction: ScanMasks,
    reference: ScanMasks,
    organs: Mapping[int, str],
    spacing: Spacing | None,
    convention: Convention,
    tolerances: tuple[float, ...],
) -> list[Cells]:
    _check_grids(prediction, reference)
    prediction, reference = _renamed(prediction, reference)
    found = sorted({*reference.organs, *prediction.organs}, key=_by_number)
    names = list(dict.fromkeys(organs.values())) or found or [UNNAMED]
    placed = reference if reference.placed else prediction
    mm, unit = _spacing(placed.grid, placed.unit, spacing)
    overlapping = not (prediction.exclusive and reference.exclusive)
    first, second = (_label_map(side, names, reference.grid, overlapping) for side in (prediction, reference))
    settings = MetricSettings(tolerances=tolerances, unit=unit, convention=convention)
    return measured_rows(head, first, second, mm, dict.fromkeys(names, settings))


def _by_number(name: str) -> tuple[bool, int, str]:
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)


def _check_grids(prediction: ScanMasks, reference: ScanMasks) -> None:
    sizes = [" × ".join(str(n) for n in side.grid.shape) for side in (prediction, reference)]
    if sizes[0] != sizes[1]:
        raise InputError(f"the prediction is {sizes[0]} and the reference {sizes[1]}", remedy="Resample one of them.")
    if prediction.placed and reference.placed and not prediction.grid.same_place(reference.grid, _ROUNDING):
        raise InputError(
            "prediction and reference have one shape and lie in different places",
            remedy="Compare their affines; masks of one scan share its geometry.",
        )


def _renamed(prediction: ScanMasks, reference: ScanMasks) -> tuple[ScanMasks, ScanMasks]:
    """Give a single organ on both sides one name: 1 here and 255 there is the same organ."""
    ours, theirs = list(prediction.organs), list(reference.organs)
    if len(ours) == len(theirs) == 1 and ours != theirs:
        plain = [name for name in (*ours, *theirs) if not name.isdecimal() and name != UNNAMED]
        if len(plain) < 2:
            shared = plain[0] if plain else UNNAMED
            prediction = replace(prediction, organs={shared: prediction.organs[ours[0]]})
            reference = replace(reference, organs={shared: reference.organs[theirs[0]]})
    elif ours and theirs and set(ours).isdisjoint(theirs) and _numbered(ours) != _numbered(theirs):
        raise InputError(
            f"the prediction's organs are {', '.join(ours)} and the reference's {', '.join(theirs)}",
            remedy="Name the values, as in --organs 1=liver,2=spleen.",
        )
    return prediction, reference


def _numbered(names: Sequence[str]) -> bool:
    return any(name.isdecimal() for name in names)


def _spacing(grid: Grid, unit: LengthUnit, given: Spacing | None) -> tuple[Spacing, LengthUnit]:
    if given is None:
        return (grid.spacing, "mm") if unit == "mm" else ((1.0, 1.0, 1.0), "px")
    if unit == "mm":
        raise InputError(
            "the files hold their spacing, " + " × ".join(f"{s:.4g}" for s in grid.spacing) + " mm",
            remedy="Leave --spacing away, or mend the headers.",
        )
    if len(given) < 3 and grid.shape[2] > 1:
        raise InputError("the masks are volumes", where="--spacing", remedy="Give mm along three axes.")
    return (*given, 1.0)[:3], "mm"


def _label_map(side: ScanMasks, names: Sequence[str], grid: Grid, overlapping: bool) -> LabelMap:
    masks = {name: side.organs.get(name, np.zeros(grid.shape, bool)) for name in names}
    return LabelMap.from_masks(masks, grid.affine, names, overlapping=overlapping, ignore=side.ignore)
