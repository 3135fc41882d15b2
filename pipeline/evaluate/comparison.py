"""Two sets of masks compared without a study: a model with a reference, or one reader with another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import InputError
from pipeline.core.files import Cells
from pipeline.evaluate.matching import choose_pair, match_scans
from pipeline.evaluate.pairs import Pairs, Settings, Spacing
from pipeline.evaluate.rows import table_columns
from pipeline.evaluate.sources import Source, open_sources
from pipeline.evaluate.tables import Bootstrap, Record, defined, metric_names, summarise, with_means
from pipeline.formats.mask_folder import Layout
from pipeline.metrics.empty import Convention, rule_text

#: Columns that mean nothing where there is one model and no manifest.
_OWN = {"model", "subgroup", "group"}
_WORDS = {"scan_id", "patient_id", "model", "organ", "unit", "volume_unit", "case"}


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
        told: What was taken for scans and organs, in lines.
    """

    convention: Convention
    tolerances: tuple[float, ...]
    rows: list[Cells]
    summary: list[Record]
    failed: dict[str, str]
    unmatched: list[str]
    told: list[str]

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
            "read_as": self.told,
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
    layout: Layout | None = None,
) -> Comparison:
    """Measure the masks of two files or two folders.

    Scans and organs of folders are told by what varies in the paths and by what the files hold, on each side by itself,
    and scans are matched by name. A scan that cannot be measured is listed and stops no other; of two single files it
    is an error.

    Args:
        predictions: File or folder of masks in any format, or a file of run lengths.
        references: The same of the truth.
        organs: Value → organ; by default every value is an organ of its own.
        spacing: mm along each axis, for files that hold none.
        convention: Rule for empty masks.
        tolerances: Of surface Dice.
        dialect: Dialect of files of run lengths that do not name their own.
        layout: How the paths in folders are to be read, where that is not to be told by what varies.

    Raises:
        InputError: Nothing is there, nothing matches, or names can be read in two ways.
    """
    organs = organs or {}
    sides = choose_pair(
        open_sources(Path(predictions), dialect, layout), open_sources(Path(references), dialect, layout)
    )
    matched, how = match_scans(*sides)
    if not matched:
        raise _nothing_matches(*sides)
    told = [line for side in sides if (line := side.told())]
    told += [f"scans of both sides are matched by {how}"] if how else []
    pairs = Pairs(sides, matched, organs, Settings(spacing, convention, tolerances))
    rows, failed = pairs.measure()
    told += pairs.told
    metrics = metric_names(rows, tolerances)
    summary = summarise(with_means(rows, metrics), metrics, Bootstrap())
    unmatched = sorted(set(sides[0].names()) - set(matched.values())) if len(pairs.names) > 1 else []
    return Comparison(convention, tolerances, rows, summary, failed, unmatched, told)


def _nothing_matches(prediction: Source, reference: Source) -> InputError:
    ours, theirs = prediction.names(), reference.names()
    return InputError(
        f"no mask has a name in common with those of {reference.path} ({ours[0]!r} and {theirs[0]!r}, for example)",
        where=str(prediction.path),
        remedy="Give two files, or two folders whose files have the same names; --layout says how paths are read.",
    )
