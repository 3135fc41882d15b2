"""Numbers, names and lists as the report writes them; the templates know each function here as a filter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

DASH = "–"


def figure_text(value: float | None, digits: int = 3) -> str:
    """A number with a fixed number of decimals; a dash where it is undefined."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:.{digits}f}".replace("-", "−")


def interval_text(row: Mapping[str, Any] | None, digits: int = 3, mean: str = "mean") -> str:
    """``0.912 (0.880–0.941)``; the mean alone where it has no interval.

    Args:
        row: Holds ``low``, ``high`` and the mean.
        digits: Decimals.
        mean: Key of the mean.
    """
    if row is None or row.get(mean) is None:
        return DASH
    middle = figure_text(row[mean], digits)
    if row.get("low") is None or row.get("high") is None:
        return middle
    dash = " to " if row["low"] < 0 else "–"
    return f"{middle} ({figure_text(row['low'], digits)}{dash}{figure_text(row['high'], digits)})"


def percent(share: float | None) -> str:
    """A share as ``3 %``; a dash where there is none."""
    return DASH if share is None or not math.isfinite(share) else f"{100 * share:.0f} %"


def words(name: str) -> str:
    """A name as it is read: ``left lung`` for ``left_lung``, ``mean of organs`` for the mean."""
    return "mean of organs" if name == "mean" else name.replace("_", " ")


def and_list(items: Sequence[object]) -> str:
    """``a, b and c``."""
    names = [str(item) for item in items]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def count(number: int, one: str, many: str | None = None) -> str:
    """``1 scan``, ``2 scans``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration(seconds: float | None) -> str:
    """Seconds as a person says them."""
    if seconds is None:
        return DASH
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def shortened(sentence: str, most: int) -> str:
    """The sentence, cut at a word where it is longer than ``most`` characters."""
    if len(sentence) <= most:
        return sentence
    return sentence[:most].rsplit(" ", 1)[0].rstrip(",.;:") + " …"


def is_figure(cell: object) -> bool:
    """Whether a cell of a table is a number, perhaps with a unit or an interval, rather than words."""
    plain = str(cell).lstrip("−-+ ")
    return bool(plain) and (plain[0].isdigit() or plain == DASH) and sum(map(str.isalpha, plain)) < 7


FILTERS = {
    one.__name__.removesuffix("_text"): one
    for one in (figure_text, interval_text, words, and_list, count, duration, shortened)
}
