"""One cell of text ↔ runs, in any dialect, strict or with repairs that are listed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from pipeline.core.errors import InputError
from pipeline.formats.rle.counts_text import compress_counts, expand_counts
from pipeline.formats.rle.dialects import Dialect, dialect_named
from pipeline.formats.rle.numbers import Ints, format_numbers, parse_numbers, repair_numbers
from pipeline.formats.rle.runs import Mask, Runs


def encode(mask: Mask, dialect: str | Dialect = "organseg") -> str:
    """Encode a picture.

    Args:
        mask: ``(height, width)`` boolean.
        dialect: Name in the table of dialects. ``coco`` and ``coco-list`` give the counts alone, without their size.

    Returns:
        The text of one cell.
    """
    dialect = dialect_named(dialect)
    return write_cell(Runs.from_mask(mask, dialect.order), dialect)


def decode(text: str, height: int, width: int, dialect: str | Dialect = "organseg", lenient: bool = False) -> Mask:
    """Decode one cell into a ``(height, width)`` boolean picture.

    Args:
        text: The cell.
        height: Rows of the picture.
        width: Columns of the picture.
        dialect: Name in the table of dialects.
        lenient: Repair what can be repaired; :func:`read_cell` says what was done.

    Raises:
        InputError: The text is not a mask of this size in this dialect; ``where`` names the token.
    """
    return read_cell(text, height, width, dialect_named(dialect), lenient=lenient)[0].paint()


def write_cell(runs: Runs, dialect: Dialect) -> str:
    """Write runs as the text of one cell; they are brought to the dialect's order first."""
    runs = runs.to_order(dialect.order).merged()
    if dialect.kind in ("counts", "counts-text"):
        counts = _counts(runs)
        return compress_counts(counts) if dialect.kind == "counts-text" else str(counts.tolist())
    if not runs.count:
        return dialect.lead + dialect.empty[0]
    pairs = np.empty(2 * runs.count, np.int64)
    pairs[1::2] = runs.lengths
    if dialect.kind == "gap-length":
        pairs[0] = runs.starts[0] + dialect.base
        np.subtract(runs.starts[1:], (runs.starts + runs.lengths)[:-1], out=pairs[2::2])
    else:
        np.add(runs.starts, dialect.base, out=pairs[0::2])
    return dialect.lead + format_numbers(pairs)


def read_cell(text: str, height: int, width: int, dialect: Dialect, *, lenient: bool = False) -> tuple[Runs, list[str]]:
    """Read the text of one cell.

    Returns:
        The runs in the dialect's order, and the repairs that were made (none unless ``lenient``).

    Raises:
        InputError: Overlapping, unsorted or empty runs, a run past the end, an odd number of tokens, a token that is
            not a number, counts that do not add up to the picture; ``where`` names the token, from 1.
    """
    body = text.strip()
    if dialect.kind in ("counts", "counts-text"):
        return _read_counts(body, height, width, dialect, lenient)
    if not body or body in dialect.empty:
        return Runs.empty(height, width, dialect.order), []
    repairs: list[str] = []
    if lenient:
        numbers, repairs = repair_numbers(body)
    else:
        numbers = parse_numbers(body)
    if numbers.size % 2:
        if not lenient:
            raise InputError(
                f"holds {numbers.size} numbers, not an even count",
                where=f"token {numbers.size}",
                remedy="Starts and lengths come in pairs; the cell was cut short or is in another dialect.",
            )
        repairs.append(f"token {numbers.size}: dropped a start without a length")
        numbers = numbers[:-1]
    starts, lengths = numbers[0::2], numbers[1::2]
    if lenient:
        starts, lengths, more = _repaired(starts, lengths, height * width, dialect)
        return Runs(starts, lengths, height, width, dialect.order), repairs + more
    _check_lengths(lengths)
    starts = _absolute(starts, lengths, dialect.base) if dialect.kind == "gap-length" else starts - dialect.base
    _check_places(starts, lengths, height, width, dialect)
    return Runs(starts, np.ascontiguousarray(lengths), height, width, dialect.order), repairs


def _absolute(gaps: Ints, lengths: Ints, base: int) -> Ints:
    below = np.flatnonzero(gaps[1:] < 0)
    if below.size:
        token = 2 * int(below[0]) + 3
        raise InputError(
            f"the gap {int(gaps[below[0] + 1])} is negative, so its run would overlap the one before",
            where=f"token {token}",
        )
    ends = np.cumsum(gaps + lengths)
    return ends - lengths - base


def _check_lengths(lengths: Ints) -> None:
    wrong = np.flatnonzero(lengths < 1)
    if wrong.size:
        raise InputError(
            f"the run's length is {int(lengths[wrong[0]])}",
            where=f"token {2 * int(wrong[0]) + 2}",
            remedy="A run has at least one pixel.",
        )


def _check_places(starts: Ints, lengths: Ints, height: int, width: int, dialect: Dialect) -> None:
    size = height * width
    stops = starts + lengths
    early = starts[1:] < stops[:-1]
    late = (stops > size) | (stops < starts)
    if starts[0] >= 0 and not early.any() and not late.any():
        return
    if starts[0] < 0:
        raise InputError(
            f"the run begins at {int(starts[0]) + dialect.base}, before the first pixel, which is {dialect.base}",
            where="token 1",
            remedy="The file may be in a dialect that counts from 0.",
        )
    index = int(np.argmax(np.concatenate((late[:1], late[1:] | early))))
    where = f"token {2 * index + 1}"
    start = int(starts[index]) + dialect.base
    if index and early[index - 1]:
        before = int(starts[index - 1]) + dialect.base
        fault = "overlaps" if start >= before else "is not sorted after"
        raise InputError(
            f"the run at {start} {fault} the run at {before} of length {int(lengths[index - 1])}", where=where
        )
    raise InputError(
        f"the run at {start} of length {int(lengths[index])} runs past the end of a picture of {height}×{width}",
        where=where,
        remedy="The size (height × width) or the dialect may be another one.",
    )


def _repaired(starts: Ints, lengths: Ints, size: int, dialect: Dialect) -> tuple[Ints, Ints, list[str]]:
    """Drop, clip, sort and merge until the runs are lawful."""
    done = []
    if dialect.kind == "gap-length":
        if (starts[1:] < 0).any() or (lengths < 0).any():
            done.append("took negative gaps and lengths for 0")
            starts, lengths = np.maximum(starts, 0), np.maximum(lengths, 0)
        starts = np.cumsum(starts + lengths) - lengths
    starts = starts - dialect.base
    stops = starts + lengths
    bad = lengths < 1
    if bad.any():
        done.append(f"dropped {int(bad.sum())} runs of length 0 or less")
    clipped = ~bad & ((starts < 0) | (stops > size))
    if clipped.any():
        done.append(f"clipped or dropped {int(clipped.sum())} runs that lie outside the picture")
    starts, stops = np.clip(starts, 0, size), np.clip(stops, 0, size)
    keep = ~bad & (stops > starts)
    starts, stops = starts[keep], stops[keep]
    if (starts[1:] < starts[:-1]).any():
        done.append("sorted the runs")
        rank = np.argsort(starts, kind="stable")
        starts, stops = starts[rank], stops[rank]
    reach = np.maximum.accumulate(stops) if stops.size else stops
    overlaps = int((starts[1:] < reach[:-1]).sum())
    if overlaps:
        done.append(f"merged {overlaps} overlapping runs")
        first = np.concatenate(([True], starts[1:] > reach[:-1]))
        last = np.concatenate((first[1:], [True]))
        starts, stops = starts[first], reach[last]
    return starts, stops - starts, done


def _counts(runs: Runs) -> Ints:
    """Lengths of background and object in turn, from the first pixel, over the whole picture."""
    edges = np.empty(2 * runs.count, np.int64)
    edges[0::2] = runs.starts
    edges[1::2] = runs.starts + runs.lengths
    if not edges.size or edges[-1] < runs.size:
        edges = np.append(edges, runs.size)
    return np.diff(edges, prepend=0)


def _read_counts(body: str, height: int, width: int, dialect: Dialect, lenient: bool) -> tuple[Runs, list[str]]:
    repairs: list[str] = []
    body, height, width = _unwrapped(body, height, width)
    if dialect.kind == "counts":
        listed = body.strip("[] ").replace(",", " ")
        if lenient:
            counts, repairs = repair_numbers(listed)
        else:
            counts = parse_numbers(listed)
    else:
        counts = expand_counts(body)
    size = height * width
    negative = np.flatnonzero(counts < 0)
    if negative.size:
        raise InputError(f"the count {int(counts[negative[0]])} is negative", where=f"token {int(negative[0]) + 1}")
    # A zero first means that the picture begins inside the object; any other zero is a run of no length.
    zero = np.flatnonzero(counts[1:] == 0)
    if zero.size and not lenient:
        raise InputError("the count is 0", where=f"token {int(zero[0]) + 2}", remedy="Only the first may be 0.")
    total = int(counts.sum()) if not counts.size or counts.max() <= size else int(counts.max())
    if total != size:
        if not lenient:
            raise InputError(
                f"the counts add up to {total}, not to the {size} pixels of a picture of {height}×{width}",
                where=f"token {counts.size}",
                remedy="The size (height × width) or the dialect may be another one.",
            )
        repairs.append(f"the counts add up to {total}, not {size}; what is missing is background, the rest is dropped")
    edges = np.minimum(np.cumsum(counts), size)
    # Background comes first: an object begins at every even edge and ends at the next; background may come last too.
    starts, stops = edges[0 : edges.size - edges.size % 2 : 2], edges[1::2]
    keep = stops > starts
    runs = Runs(starts[keep], (stops - starts)[keep], height, width, dialect.order)
    return runs.merged(), repairs


def _unwrapped(body: str, height: int, width: int) -> tuple[str, int, int]:
    """The counts in a JSON cell ``{"size": [h, w], "counts": …}``; other cells are given back as they are."""
    if not body.startswith("{"):
        return body, height, width
    try:
        value: Any = json.loads(body)
        counts, (rows, columns) = value["counts"], value["size"]
    except (ValueError, KeyError, TypeError):
        raise InputError(
            "is not a JSON object with size and counts", where="token 1", remedy='Write {"size": [h, w], "counts": …}.'
        ) from None
    if (int(rows), int(columns)) != (height, width):
        raise InputError(f"names a size of {rows}×{columns}, not {height}×{width}", where="size")
    return (counts if isinstance(counts, str) else " ".join(str(count) for count in counts)), height, width
