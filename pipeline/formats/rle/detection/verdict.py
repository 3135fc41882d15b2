"""Evidence for each reading → a ranking with margins, and a dialect where one stands out beyond doubt.

The candidates are the readings of the table of dialects. Readings that no dialect has (from 0 where all count from 1,
say) are weighed too: one that fits better keeps the others from being accepted. A reading is accepted when

- every cell of the sample is lawful in it, and its masks hang together, and
- each rival is unlawful in a fifth of the cells or more, or gives outlines so much longer and masks so much more broken
  that no leaning of the objects explains it, or is contradicted by landmarks or by the edges of the pictures.

A square picture read along the wrong axis is its own mirror image: nothing but landmarks or the pictures tells the two
apart, and without them the file is not accepted. Names of columns choose between dialects of one reading only.

On 6,000 random files of 1 to 6 masks in every dialect (``tests/rle/test_detect.py``, marked slow; pictures of 12 to 140
pixels without anything beside their masks) no wrong reading was accepted. No dialect was named for 68 % of the files
that do not name theirs: 82 % where pictures are square, 70 % where they are nearly so, 53 % where they are oblong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.formats.rle.cell import Size
from pipeline.formats.rle.cells import declared_dialect
from pipeline.formats.rle.detection.evidence import Evidence, gradient_ranks, weigh
from pipeline.formats.rle.detection.sample import Sampled, take_sample
from pipeline.formats.rle.dialects import DIALECTS, Dialect

_UNLAWFUL = 0.2
_LONGER = 2.0
_MUCH_LONGER = 3.0
_SEVERAL = 4
_THICK = 5.0
_RAGGED = 80.0
_BROKEN = 2.0
_FEWEST_LINES = 8
_LANDMARKS = (0.9, 0.5)
_GEOMETRY_CELLS = 80
_UNSIZED = "the size of the pictures is not known (give --size HEIGHTxWIDTH or --images)"


@dataclass
class Scored:
    """One reading with what was found for and against it.

    Attributes:
        order: ``row`` or ``column``.
        base: Number of the first pixel.
        kind: ``start-length``, ``gap-length`` or ``counts``.
        dialects: Dialects of the table that read so.
        score: Higher is better; 0 is the best reading's.
        lawful: Share of the cells that are lawful.
        outline: Length of the outlines in pixel sides, summed over the cells.
        pieces: Pieces, summed over the cells.
        landmarks: Share of landmarks on outlines.
        edges: Mean rank of the pictures' gradient on outlines; 0.5 is chance.
        against: What sets it apart from the best reading.
    """

    order: str
    base: int
    kind: str
    dialects: tuple[str, ...]
    score: float
    lawful: float
    outline: float | None
    pieces: float | None
    landmarks: float | None
    edges: float | None
    against: str = ""


@dataclass
class Detection:
    """What became of a file.

    Attributes:
        dialect: The dialect that was accepted, or ``None``.
        reason: Why, or why none was.
        margin: Score of the best reading less that of the next one that a dialect has.
        cells: Masks that were looked at.
        ranking: Readings, best first.
        declared: Whether the file itself names the dialect.
    """

    dialect: str | None
    reason: str
    margin: float | None = None
    cells: int = 0
    ranking: list[Scored] = field(default_factory=list)
    declared: bool = False


def detect(
    path: str | Path,
    *,
    size: Size | None = None,
    sizes: Mapping[str, Size] | None = None,
    pictures: Mapping[str, Path] | None = None,
) -> Detection:
    """Weigh every reading of a file.

    Args:
        path: CSV, Parquet or JSON.
        size: ``(height, width)`` of pictures whose size the file does not say.
        sizes: Sizes by image id.
        pictures: Picture files by image id.

    Raises:
        InputError: The file is not readable.
    """
    declared = declared_dialect(path)
    if declared is not None:
        return Detection(declared.name, "the file names its dialect itself", declared=True)
    sample = take_sample(path, size, sizes or {})
    if not sample.mask_columns or not sample.cells:
        return Detection(None, "no column holds run lengths, or all masks are empty")
    sample = replace(sample, cells=sample.cells[:_GEOMETRY_CELLS])
    gradients = _Pictures(pictures or {})
    readings = _readings()
    found = [weigh(sample.cells, reading, _implied_size(reading), gradients) for reading in readings]
    return _judge(sample, readings, found)


def _readings() -> list[Dialect]:
    """One entry of the table for each way of reading, and the ways that are in nobody's use."""
    plain: dict[tuple[str, int, str], Dialect] = {}
    for dialect in DIALECTS.values():
        if dialect.layout != "organseg" and dialect.kind != "counts-text":
            plain.setdefault(dialect.reading, replace(dialect, empty=("",), lead=""))
    model = DIALECTS["kaggle"]
    for order in ("row", "column"):
        for base, kind in ((0, "start-length"), (1, "start-length"), (0, "gap-length"), (0, "counts")):
            key = (order, base, kind)
            plain.setdefault(key, replace(model, name="", order=order, base=base, kind=kind, size=None))  # type: ignore[arg-type]
    return list(plain.values())


def _dialects_of(reading: Dialect) -> list[Dialect]:
    return [d for d in DIALECTS.values() if d.reading == reading.reading and d.layout != "organseg"]


def _implied_size(reading: Dialect) -> Size | None:
    """The size that all dialects of a reading have, where they have one and the same."""
    sizes = {dialect.size for dialect in _dialects_of(reading)}
    return sizes.pop() if len(sizes) == 1 else None


class _Pictures:
    """Ranks of gradients by image id, the last one kept."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths
        self._kept: dict[str, NDArray[np.float32]] = {}

    def __call__(self, scan_id: str) -> NDArray[np.float32] | None:
        if scan_id not in self._paths:
            return None
        if scan_id not in self._kept:
            from PIL import Image

            with Image.open(self._paths[scan_id]) as picture:
                self._kept[scan_id] = gradient_ranks(np.asarray(picture.convert("F")))
        return self._kept[scan_id]


def _judge(sample: Sampled, readings: list[Dialect], found: list[Evidence]) -> Detection:
    scores = [_score(evidence) for evidence in found]
    best = max(scores)
    named = [bool(_dialects_of(reading)) for reading in readings]
    order = sorted(range(len(readings)), key=lambda i: (-scores[i], not named[i]))
    ranking = [_scored(readings[i], found[i], scores[i] - best) for i in order]
    champion = next(i for i in order if named[i])
    rivals = [i for i in order if named[i] and i != champion]
    margin = scores[champion] - scores[rivals[0]] if rivals else None
    result = Detection(None, "", margin, len(sample.cells), ranking)
    fault = _fault(found[champion], sample)
    if fault:
        sized = any(cell.size is not None for cell in sample.cells)
        result.reason = fault if sized else f"{_UNSIZED}; without it {fault}"
        return result
    for i in order:
        if i == champion:
            continue
        against = _against(found[champion], found[i], rival_is_named=named[i])
        ranking[order.index(i)].against = against or "nothing tells it from the best"
        if not against and not result.reason:
            result.reason = f"nothing tells {_words(readings[champion])} from {_words(readings[i])} in this file"
    if result.reason:
        return result
    dialect = _by_columns(sample, readings[champion])
    if dialect is None:
        result.reason = f"reads as {_words(readings[champion])}, but its columns are those of no such dialect"
        return result
    result.dialect = dialect.name
    result.reason = f"reads as {_words(readings[champion])}; every other dialect is ruled out"
    return result


def _score(evidence: Evidence) -> float:
    unlawful = 1 - float(np.mean(evidence.valid))
    outline = np.array(evidence.outline)
    lines = outline[np.isfinite(outline)]
    score = -20.0 * unlawful - (math.log(lines.mean()) if lines.size else 20.0)
    if evidence.area:
        score -= 10 * (1 - float(np.mean(evidence.area)))
    if evidence.landmarks:
        score += 10 * float(np.mean(evidence.landmarks))
    edges = np.array(evidence.edges)
    if np.isfinite(edges).any():
        score += 10 * float(np.nanmean(edges))
    return score


def _mean(values: list[float]) -> float | None:
    array = np.array(values, float)
    array = array[np.isfinite(array)]
    return float(array.mean()) if array.size else None


def _sum(values: list[float]) -> float | None:
    array = np.array(values, float)
    array = array[np.isfinite(array)]
    return float(array.sum()) if array.size else None


def _scored(reading: Dialect, evidence: Evidence, score: float) -> Scored:
    order, base, kind = reading.reading
    return Scored(
        order,
        base,
        kind,
        tuple(dialect.name for dialect in _dialects_of(reading)),
        score,
        float(np.mean(evidence.valid)),
        _sum(evidence.outline),
        _sum(evidence.pieces),
        _mean(evidence.landmarks),
        _mean(evidence.edges),
    )


def _fault(best: Evidence, sample: Sampled) -> str:
    """Why the best reading cannot be accepted whatever its rivals are."""
    if not all(best.valid):
        return f"no dialect reads every mask: {best.valid.count(False)} of {len(best.valid)} are unlawful in the best"
    if not np.isfinite(best.outline).any():
        return "no outline can be drawn"
    lines, pieces = float(np.nansum(best.lines)), float(np.nansum(best.pieces))
    if lines < _FEWEST_LINES:
        return f"there are {int(lines)} runs in the whole file, too few to tell"
    if pieces > lines / 2:
        return "the masks fall to pieces in every reading"
    if best.area and not all(best.area):
        return "the areas in the file do not agree with any reading"
    return ""


def _against(best: Evidence, rival: Evidence, *, rival_is_named: bool) -> str:
    """What rules a rival out, in words; empty where nothing does."""
    unlawful = 1 - float(np.mean(rival.valid))
    if unlawful >= _UNLAWFUL:
        return f"{unlawful:.0%} of the masks are unlawful in it"
    if rival.landmarks and best.landmarks:
        here, there = float(np.mean(best.landmarks)), float(np.mean(rival.landmarks))
        if here >= _LANDMARKS[0] and there <= _LANDMARKS[1]:
            return f"{there:.0%} of the landmarks lie on its outlines, {here:.0%} on the best's"
    by_edges = _edges_against(np.array(best.edges), np.array(rival.edges))
    if by_edges:
        return by_edges
    by_outline = _outline_against(best, rival)
    if by_outline:
        return by_outline
    if not rival_is_named and not _fits_better(rival, best):
        return "no dialect reads so, and it does not fit better"
    return ""


def _fits_better(one: Evidence, other: Evidence) -> bool:
    a, b = np.array(one.outline), np.array(other.outline)
    both = np.isfinite(a) & np.isfinite(b)
    return bool(a[both].sum() < b[both].sum() * 0.99)


def _outline_against(best: Evidence, rival: Evidence) -> str:
    """Longer outlines and more pieces, unless an object that leans can be the reason.

    Read with lines of a wrong length, an object is sheared. A thin one that leans may come out straighter than it is,
    and stripes may close up to fewer and broader ones; so the best reading must show objects that are thick and round
    enough to be neither.
    """
    a, b = np.array(best.outline), np.array(rival.outline)
    both = np.isfinite(a) & np.isfinite(b)
    if not both.any() or (b[both] < a[both]).any():
        return ""
    if np.nanmean(np.array(best.thickness)) < _THICK or np.nanmedian(np.array(best.raggedness)) > _RAGGED:
        return ""
    longer = b[both].sum() / a[both].sum()
    broken = np.array(rival.pieces)[both].sum() / max(np.array(best.pieces)[both].sum(), 1)
    many = both.sum() >= _SEVERAL and np.median(b[both] / a[both]) >= _MUCH_LONGER
    if longer >= _LONGER and (broken >= _BROKEN or many):
        return f"its outlines are {longer:.1f} times as long, in {broken:.1f} times as many pieces"
    return ""


def _edges_against(best: NDArray[np.float64], rival: NDArray[np.float64]) -> str:
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


def _by_columns(sample: Sampled, reading: Dialect) -> Dialect | None:
    """The dialect of a reading whose files have such columns."""
    wide = len(sample.mask_columns) > 1
    classes = sample.class_column is not None
    fitting = [
        dialect
        for dialect in _dialects_of(reading)
        if (dialect.layout == "wide") == wide and sample.id_column is not None and dialect.kind != "counts-text"
    ]
    # A dialect of one competition implies its size; the general one does not.
    fitting.sort(key=lambda d: (d.size is not None and d.kind != "gap-length", classes != bool(d.class_columns)))
    return fitting[0] if fitting else None


def _words(reading: Dialect) -> str:
    order, base, kind = reading.reading
    names = "/".join(dialect.name for dialect in _dialects_of(reading)) or "no dialect"
    return f"{kind} by {order}s from {base} ({names})"


def as_json(detection: Detection) -> dict[str, Any]:
    """The verdict as plain values; figures that are not known are ``None``."""
    return {
        "dialect": detection.dialect,
        "declared": detection.declared,
        "reason": detection.reason,
        "margin": detection.margin,
        "cells": detection.cells,
        "ranking": [vars(scored) | {"dialects": list(scored.dialects)} for scored in detection.ranking],
    }
