"""How each reading fits → a ranking with margins, and a dialect where one stands out beyond doubt.

The candidates are the readings of the table of dialects. Readings that no dialect has (from 0 where all count from 1,
say) are weighed too: one that fits better keeps the others from being accepted. A reading is accepted when

- every cell of the sample is lawful in it, and its masks hang together, and
- each rival is unlawful in a fifth of the cells or more, or gives outlines so much longer and masks so much more broken
  that no leaning of the objects explains it, or is contradicted by landmarks or by the edges of the pictures.

A square picture read along the wrong axis is its own mirror image: nothing but landmarks or the pictures tells the two
apart, and without them the file is not accepted. Whether the first pixel is 0 or 1 is told by masks that end at a
border, or by columns that one community alone has. Names of columns choose between dialects of one reading; where they
are those of the other order, the sides of the pictures may be exchanged, and the file is not accepted.

On 1,500 random files of 1 to 6 masks in every dialect (``tests/rle/test_detect.py`` has 6,000, marked slow; pictures of
12 to 140 pixels without anything beside their masks) no wrong reading was accepted. No dialect was named for 70 % of
the files that do not name theirs: 82 % where pictures are square, 72 % where they are nearly so, 57 % where they are
oblong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DAMAGED_PICTURE, InputError, raise_passing
from pipeline.formats.rle.cell import Size
from pipeline.formats.rle.cells import declared_dialect
from pipeline.formats.rle.detection.fit import Fit, Floats, fit, gradient_ranks
from pipeline.formats.rle.detection.rivals import (
    BY_COLUMNS,
    NOBODYS,
    against,
    differ_in_base,
    first_pixel,
    orders_by_columns,
)
from pipeline.formats.rle.detection.sample import Sampled, take_sample
from pipeline.formats.rle.dialects import DIALECTS, READ_ONLY, Dialect, dialect_named
from pipeline.formats.rle.entries import picture_sizes
from pipeline.formats.rle.numbers import spreadsheet_fault
from pipeline.formats.rle.tables import Table

_FEWEST_LINES = 8
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

    def facts(self) -> dict[str, Any]:
        """The same as plain values; figures that are not known are ``None``."""
        ranking = [vars(scored) | {"dialects": list(scored.dialects)} for scored in self.ranking]
        return vars(self) | {"ranking": ranking}


def detect(path: str | Path, *, size: Size | None = None, images: str | Path | None = None) -> Detection:
    """Weigh the evidence for each dialect that a file may be in.

    Args:
        path: CSV, Parquet or COCO JSON, gzipped or not.
        size: ``(height, width)`` in pixels of pictures whose size the file does not say.
        images: Folder of the pictures: their sizes, and evidence.

    Returns:
        The dialect that stands out, or ``None``, with the reason and every reading's score.

    Raises:
        InputError: The file is not readable, or there is no picture in ``images``.
    """
    sizes, pictures = picture_sizes(images) if images is not None else ({}, {})
    declared = declared_dialect(path)
    if declared is not None and declared.layout != "wide":
        return Detection(declared.name, "the file names its dialect itself", declared=True)
    sample = take_sample(path, size, sizes)
    if sample.cut is not None:
        return Detection(None, f"in row {sample.cut} {spreadsheet_fault().what}")
    if not sample.mask_columns or not sample.cells:
        return Detection(None, "no column holds run lengths, or all masks are empty")
    sample = replace(sample, cells=sample.cells[:_GEOMETRY_CELLS])
    gradients = _Pictures(pictures)
    readings = _readings()
    found = _decide(sample, readings, [fit(sample.cells, one, _implied_size(one), gradients) for one in readings])
    return found if declared is None else _by_name(found, declared)


def _by_name(found: Detection, declared: Dialect) -> Detection:
    """A dialect that the columns name, unless the masks are lawful in another one alone."""
    own = [one for one in found.ranking if declared.name in one.dialects]
    if found.dialect is None and own and own[0].lawful == 1 and not _contradicted(own[0], found.ranking):
        found.dialect, found.reason = declared.name, f"its columns are those of {declared.name}"
    return found


def _contradicted(own: Scored, ranking: list[Scored]) -> bool:
    """Whether landmarks speak for another reading."""
    return own.landmarks is not None and any((one.landmarks or 0) > own.landmarks + 0.1 for one in ranking)


def given_or_detected(
    path: str | Path,
    name: str | None,
    *,
    size: Size | None = None,
    images: str | Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Dialect:
    """The dialect that is given, else the one that the file names, else one that is detected beyond doubt.

    Args:
        path: The file.
        name: The dialect that is given.
        size: As for :func:`detect`.
        images: As for :func:`detect`.
        say: Takes one line about a dialect that was detected.

    Raises:
        InputError: There is none of that name, or none is given and none stands out.
    """
    if name is not None:
        return dialect_named(name)
    found = detect(path, size=size, images=images)
    if found.dialect is None:
        raise InputError(
            f"no dialect is given, and none is clear: {found.reason}",
            where=str(path),
            remedy="Name it with --dialect (convert: --from); `organseg rle detect` shows the evidence.",
        )
    if not found.declared:
        say(f"dialect {found.dialect}: {found.reason}")
    return dialect_named(found.dialect)


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
    tables = [d for d in (DIALECTS | READ_ONLY).values() if d.layout in ("long", "wide", "coco") and not d.nobodys]
    return [d for d in tables if d.reading == reading.reading]


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

            try:
                with Image.open(self._paths[scan_id]) as picture:
                    self._kept[scan_id] = gradient_ranks(np.asarray(picture.convert("F")))
            except DAMAGED_PICTURE as error:
                raise_passing(error)
                raise InputError("the picture is damaged", where=str(self._paths[scan_id])) from None
        return self._kept[scan_id]


def _decide(sample: Sampled, readings: list[Dialect], fits: list[Fit]) -> Detection:
    scores = [_score(one) for one in fits]
    best = max(scores)
    named = [bool(_dialects_of(reading)) for reading in readings]
    order = sorted(range(len(readings)), key=lambda i: (-scores[i], not named[i]))
    ranking = [_scored(readings[i], fits[i], scores[i] - best) for i in order]
    champion = next(i for i in order if named[i])
    rivals = [i for i in order if named[i] and i != champion]
    margin = scores[champion] - scores[rivals[0]] if rivals else None
    result = Detection(None, "", margin, len(sample.cells), ranking)
    fault = _fault(fits[champion])
    if fault:
        sized = any(cell.size is not None for cell in sample.cells)
        result.reason = fault if sized else f"{_UNSIZED}; without it {fault}"
        return result
    for i, scored in zip(order, ranking, strict=True):
        if i == champion:
            continue
        words = against(fits[champion], fits[i], rival_is_named=named[i])
        if words == NOBODYS and differ_in_base(readings[champion], readings[i]):
            words = first_pixel(fits[champion], fits[i], sample, readings[champion])
        scored.against = words or "nothing tells it from the best"
        if not words and not result.reason:
            result.reason = f"nothing tells {_words(readings[champion])} from {_words(readings[i])} in this file"
    if result.reason:
        return result
    result.reason = _against_columns(sample, readings[champion])
    if result.reason:
        return result
    dialect = _by_columns(sample, readings[champion])
    if dialect is None:
        result.reason = f"reads as {_words(readings[champion])}, but its columns are those of no such dialect"
        return result
    result.dialect = dialect.name
    result.reason = f"reads as {_words(readings[champion])}; every other dialect is ruled out"
    if any(one.against == BY_COLUMNS for one in ranking):
        result.reason += f", and counting from {1 - dialect.base} by its columns alone"
    return result


def _against_columns(sample: Sampled, best: Dialect) -> str:
    """What the columns say against the best reading: a mask by rows is one by columns of a picture turned over."""
    orders = orders_by_columns(sample.columns)
    if best.kind != "start-length" or not orders or best.order in orders:
        return ""
    other = orders.pop()
    sizes = {cell.size for cell in sample.cells if cell.size is not None}
    height, width = next(iter(sizes))
    return (
        f"the masks read as {_words(best)} in pictures of {height}×{width}, as its columns' files do by {other}s "
        f"in pictures of {width}×{height}: either the order is another one or the sides are exchanged"
    )


def _finite(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _score(one: Fit) -> float:
    outline = _finite(one.outline)
    score = -20.0 * one.unlawful - (math.log(outline.mean()) if outline.size else 20.0)
    if one.area.size:
        score -= 10 * (1 - float(one.area.mean()))
    for values in (one.landmarks, _finite(one.edges)):
        if values.size:
            score += 10 * float(values.mean())
    return score


def _scored(reading: Dialect, one: Fit, score: float) -> Scored:
    outline, pieces, *means = (_finite(v) for v in (one.outline, one.pieces, one.landmarks, one.edges))
    landmarks, edges = (float(values.mean()) if values.size else None for values in means)
    return Scored(
        *reading.reading,
        tuple(dialect.name for dialect in _dialects_of(reading)),
        score,
        float(one.valid.mean()),
        float(outline.sum()) if outline.size else None,
        float(pieces.sum()) if pieces.size else None,
        landmarks,
        edges,
    )


def _fault(best: Fit) -> str:
    """Why the best reading cannot be accepted whatever its rivals are."""
    if not best.valid.all():
        return f"no dialect reads every mask: {int((~best.valid).sum())} of {best.valid.size} are unlawful in the best"
    if not np.isfinite(best.outline).any():
        return "no outline can be drawn"
    lines, pieces = float(np.nansum(best.lines)), float(np.nansum(best.pieces))
    if lines < _FEWEST_LINES:
        return f"there are {int(lines)} runs in the whole file, too few to tell"
    if pieces > lines / 2:
        return "the masks fall to pieces in every reading"
    if not best.area.all():
        return "the areas in the file do not agree with any reading"
    return ""


def _by_columns(sample: Sampled, reading: Dialect) -> Dialect | None:
    """The dialect of a reading whose files have such columns."""
    wide = len(sample.mask_columns) > 1 or _has(sample.mask_columns, DIALECTS["chexmask"].mask_columns)
    classes = sample.class_column is not None
    fitting = [
        dialect
        for dialect in _dialects_of(reading)
        if (dialect.layout == "wide") == wide
        and dialect.kind != "counts-text"
        and _has(sample.columns, dialect.id_columns)
        and (wide or _has(sample.mask_columns, dialect.mask_columns))
    ]
    # A dialect of one competition implies its size; the general one does not.
    fitting.sort(key=lambda d: (d.size is not None and d.kind != "gap-length", classes != bool(d.class_columns)))
    return fitting[0] if fitting else None


def _has(columns: Sequence[str], names: Sequence[str]) -> bool:
    """Whether one of the columns goes by one of the names."""
    return Table(Path(), list(columns), iter(())).column(names) is not None


def _words(reading: Dialect) -> str:
    order, base, kind = reading.reading
    names = "/".join(dialect.name for dialect in _dialects_of(reading)) or f"{order}s-from-{base}"
    return f"{kind} by {order}s from {base} ({names})"
