"""What rules a reading out beside the best one, in words."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from pipeline.formats.rle.detection.fit import Fit, Floats
from pipeline.formats.rle.detection.sample import Sampled
from pipeline.formats.rle.dialects import Dialect

NOBODYS = "no dialect reads so, and it does not fit better"
BY_COLUMNS = "the columns are those of files that count otherwise; nothing in the masks tells"
_UNLAWFUL = 0.2
_LONGER = 2.0
_MUCH_LONGER = 3.0
_SEVERAL = 4
_THICK = 5.0
_RAGGED = 80.0
_BROKEN = 2.0
_LANDMARKS = (0.9, 0.5)
#: Columns, in small letters without blanks and underscores, by the order of the communities that have them.
_PECULIAR: dict[str, tuple[set[str], ...]] = {
    "column": ({"encodedpixels"}, {"rlemask"}, {"subject", "img", "pixels"}),
    "row": (
        {"id", "predicted"},
        {"id", "class", "segmentation"},
        {"annotation", "celltype"},
        {"leftlung", "rightlung"},
    ),
}
#: Pixel sides by which outlines are longer where one run or more goes on beyond a border.
_WRAPPED = 4


def against(best: Fit, rival: Fit, *, rival_is_named: bool) -> str:
    """What rules a rival out, in words; empty where nothing does."""
    if rival.unlawful >= _UNLAWFUL:
        return f"{rival.unlawful:.0%} of the masks are unlawful in it"
    if rival.landmarks.size and best.landmarks.size:
        here, there = float(best.landmarks.mean()), float(rival.landmarks.mean())
        if here >= _LANDMARKS[0] and there <= _LANDMARKS[1]:
            return f"{there:.0%} of the landmarks lie on its outlines, {here:.0%} on the best's"
    decided = _edges_against(best.edges, rival.edges) or _outline_against(best, rival)
    if decided:
        return decided
    both = np.isfinite(best.outline) & np.isfinite(rival.outline)
    if not rival_is_named and not rival.outline[both].sum() < best.outline[both].sum() * 0.99:
        return NOBODYS
    return ""


def differ_in_base(one: Dialect, other: Dialect) -> bool:
    """Whether two readings differ in nothing but the number of the first pixel."""
    return (one.order, one.kind) == (other.order, other.kind) and one.base != other.base


def first_pixel(best: Fit, rival: Fit, sample: Sampled, reading: Dialect) -> str:
    """What tells whether the first pixel is 0 or 1: where masks end at a border, or columns that one community has.

    Counted from the wrong number, a mask that touches the border goes on at the other side of the picture by one pixel
    a line, or leaves it.
    """
    both = np.isfinite(best.outline) & np.isfinite(rival.outline)
    longer = rival.outline[both] - best.outline[both]
    if rival.unlawful > best.unlawful or (longer.size and longer.min() >= 0 and longer.sum() >= _WRAPPED):
        return "with it masks go on beyond the border that they end at"
    if longer.size and longer.min() < 0:
        return ""
    if _own_columns(sample, reading):
        return BY_COLUMNS
    return ""


def _own_columns(sample: Sampled, reading: Dialect) -> bool:
    """Whether the file has columns of a community that reads so, and not only words that anybody would choose."""
    return reading.order in orders_by_columns(sample.columns)


def orders_by_columns(columns: Sequence[str]) -> set[str]:
    """The order of the communities that such columns are peculiar to; none for words that anybody would choose."""
    plain = {re.sub(r"[\s_]", "", name).lower() for name in columns}
    return {order for order, own in _PECULIAR.items() if any(words <= plain for words in own)}


def _outline_against(best: Fit, rival: Fit) -> str:
    """Longer outlines and more pieces, unless an object that leans can be the reason.

    Read with lines of a wrong length, an object is sheared. A thin one that leans may come out straighter than it is,
    and stripes may close up to fewer and broader ones; so the best reading must show objects that are thick and round
    enough to be neither.
    """
    both = np.isfinite(best.outline) & np.isfinite(rival.outline)
    a, b = best.outline[both], rival.outline[both]
    if not both.any() or (b < a).any():
        return ""
    if np.nanmean(best.thickness) < _THICK or np.nanmedian(best.raggedness) > _RAGGED:
        return ""
    longer = b.sum() / a.sum()
    broken = rival.pieces[both].sum() / max(best.pieces[both].sum(), 1)
    many = both.sum() >= _SEVERAL and np.median(b / a) >= _MUCH_LONGER
    if longer >= _LONGER and (broken >= _BROKEN or many):
        return f"its outlines are {longer:.1f} times as long, in {broken:.1f} times as many pieces"
    return ""


def _edges_against(best: Floats, rival: Floats) -> str:
    both = np.isfinite(best) & np.isfinite(rival)
    count = int(both.sum())
    if not count:
        return ""
    differences = best[both] - rival[both]
    mean, rank = float(differences.mean()), float(best[both].mean())
    error = float(differences.std(ddof=1) / math.sqrt(count)) if count > 1 else math.inf
    # Many masks may differ little, if they agree; a few must differ much, and none may say the contrary.
    many = count >= 4 and rank >= 0.65 and mean >= 0.15 and mean >= 4 * error
    few = rank >= 0.75 and mean >= 0.25 and differences.min() > -0.05
    if many or few:
        return f"the picture's edges are weaker on its outlines, by {mean:.2f} in rank over {count} masks"
    return ""
