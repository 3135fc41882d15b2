"""Cells of text ↔ runs, in any dialect: many at once, and one by one with the words for what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.core.errors import InputError
from pipeline.formats.rle.counts_text import compress_counts, expand_counts
from pipeline.formats.rle.dialects import Dialect, dialect_named
from pipeline.formats.rle.edges import Ints, Mask
from pipeline.formats.rle.faults import count_fault, pair_fault, total
from pipeline.formats.rle.json_text import parsed_text
from pipeline.formats.rle.numbers import (
    SPREADSHEET_CELL,
    format_lists,
    parse_lists,
    parse_tokens,
    says_nothing,
    spreadsheet_fault,
)
from pipeline.formats.rle.runs import Runs, bounds_of, counted, covered


def encode(mask: Mask, dialect: str | Dialect = "organseg") -> str:
    """Encode a picture.

    Args:
        mask: ``(height, width)`` boolean.
        dialect: Name in the table of dialects. ``coco`` and ``coco-list`` give the counts alone, without their size.

    Returns:
        The text of one cell.
    """
    dialect = dialect_named(dialect)
    return write_texts(Runs.from_mask(mask, dialect.order), dialect)[0]


def decode(text: str, height: int, width: int, dialect: str | Dialect = "organseg", lenient: bool = False) -> Mask:
    """Decode one cell into a ``(height, width)`` boolean picture.

    Args:
        text: The cell.
        height: Rows of the picture.
        width: Columns of the picture.
        dialect: Name in the table of dialects.
        lenient: Repair what can be repaired; :func:`read_text` says what was done.

    Raises:
        InputError: The text is not a mask of this size in this dialect; ``where`` names the token.
    """
    return read_text(text, height, width, dialect_named(dialect), lenient=lenient)[0].paint()


def write_texts(runs: Runs, dialect: Dialect) -> list[str]:
    """Write the runs of each picture as the text of a cell; they are brought to the dialect's order first."""
    runs = runs.to_order(dialect.order).merged()
    if dialect.counts:
        return _count_texts(runs, dialect)
    held = runs.counts.tolist()
    pairs = np.empty(2 * runs.starts.size, np.int64)
    pairs[1::2] = runs.lengths
    if dialect.kind == "gap-length" and runs.starts.size:
        stops = runs.starts + runs.lengths
        np.subtract(runs.starts[1:], stops[:-1], out=pairs[2::2])
        # A picture's first gap counts from its beginning, where the number of the first pixel comes in.
        first = runs.bounds[:-1] if len(runs) == 1 else runs.bounds[:-1][runs.counts > 0]
        pairs[2 * first] = runs.starts[first] + dialect.base
    else:
        np.add(runs.starts, dialect.base, out=pairs[0::2])
    texts = iter(format_lists(pairs, [2 * count for count in held if count]))
    return [dialect.lead + (next(texts) if count else dialect.empty[0]) for count in held]


def _count_texts(runs: Runs, dialect: Dialect) -> list[str]:
    """Lengths of background and object in turn, from the first pixel, over the whole picture."""
    # All pictures in one long line: each ends where the next begins, with background of no length or more.
    ends = np.cumsum(runs.sizes)
    edges = np.empty(2 * runs.starts.size + len(runs), np.int64)
    if len(runs) == 1:
        edges[0:-1:2], edges[1:-1:2], edges[-1] = runs.starts, runs.starts + runs.lengths, ends[0]
    else:
        owner = runs.owner
        place = 2 * np.arange(owner.size) + owner
        edges[place] = runs.starts + (ends - runs.sizes)[owner]
        edges[place + 1] = edges[place] + runs.lengths
        edges[2 * runs.bounds[1:] + np.arange(len(runs))] = ends
    counts = edges.copy()
    counts[1:] -= edges[:-1]
    last = 2 * runs.bounds[1:] + np.arange(len(runs))
    full = counts[last] == 0
    if full.any():
        counts = np.delete(counts, last[full])
    numbers = 2 * runs.counts + ~full
    if dialect.kind == "counts":
        return [f"[{text.replace(' ', ', ')}]" for text in format_lists(counts, numbers.tolist())]
    return compress_counts(counts, bounds_of(numbers))


def read_texts(texts: Sequence[str], heights: Sequence[int], widths: Sequence[int], dialect: Dialect) -> Runs | None:
    """Read cells of one dialect.

    Args:
        texts: ``N`` cells.
        heights: Rows of each picture.
        widths: Columns of each picture.
        dialect: How to read them.

    Returns:
        Their runs, those that :func:`read_text` gives; ``None`` where it might refuse or repair one of them.
    """
    if _is_pairs(dialect) and SPREADSHEET_CELL in map(len, texts):
        return None
    parsed = _parsed([text.strip() for text in texts], dialect)
    build = _from_counts if dialect.counts else _from_pairs
    return None if parsed is None else build(*parsed, (np.array(heights), np.array(widths)), dialect)


def _parsed(bodies: list[str], dialect: Dialect) -> tuple[Ints, list[int]] | None:
    """The numbers of all cells, and how many each has; ``None`` where one cell is not as it is mostly written."""
    if not dialect.counts:
        return parse_lists(
            ["" if body in dialect.empty or (len(body) < 5 and says_nothing(body)) else body for body in bodies]
        )
    if dialect.kind == "counts":
        return parse_lists([_listed(body) for body in bodies])
    if not all(body and body.isascii() and not body.startswith("{") for body in bodies):
        return None
    try:
        return expand_counts(bodies)
    except InputError:
        # Which cell is at fault, and with what words, says read_text.
        return None


def _listed(body: str) -> str:
    """A list of numbers without its brackets and commas."""
    return body[1:-1].replace(", ", " ") if body[:1] == "[" and body[-1:] == "]" else body


def _from_pairs(numbers: Ints, counts: Sequence[int], shapes: tuple[Ints, Ints], dialect: Dialect) -> Runs | None:
    """Runs of pairs of numbers, ``None`` where they are not lawful.

    Args:
        numbers: The numbers of all pictures.
        counts: How many each picture has, ``N``.
        shapes: Heights and widths, ``(N,)`` each.
        dialect: How they count.
    """
    gaps = dialect.kind == "gap-length"
    if any(count % 2 for count in counts) or (gaps and not _summable(numbers)):
        return None
    bounds = bounds_of([count // 2 for count in counts])
    starts, lengths = numbers[0::2], np.ascontiguousarray(numbers[1::2])
    if gaps:
        ends = np.cumsum(starts + lengths)
        starts = ends - lengths
        if len(counts) > 1:
            starts -= np.repeat(np.concatenate(([0], ends))[bounds[:-1]], np.diff(bounds))
    runs = Runs(starts - dialect.base, lengths, bounds, *shapes, dialect.order)
    if not lengths.size:
        return runs
    stops = runs.starts + lengths
    # Each run begins where the one before it ended or later, so the first and the last of a picture answer for all.
    if lengths.min() < 1 or runs.within(runs.starts[1:] < stops[:-1]).any():
        return None
    if len(counts) == 1:
        lawful = runs.starts[0] >= 0 and stops[-1] <= runs.sizes[0]
    else:
        held = runs.counts > 0
        first, last = bounds[:-1][held], bounds[1:][held] - 1
        lawful = runs.starts[first].min() >= 0 and (stops[last] <= runs.sizes[held]).all()
    return runs if lawful else None


def _from_counts(counts: Ints, numbers: Sequence[int], shapes: tuple[Ints, Ints], dialect: Dialect) -> Runs | None:
    """Runs of lengths of background and object in turn, ``None`` where they are not lawful.

    Args:
        counts: The lengths of all pictures.
        numbers: How many each picture has, ``N``.
        shapes: Heights and widths, ``(N,)`` each.
        dialect: How they count.
    """
    if not all(numbers) or not _summable(counts):
        return None
    pixels = shapes[0] * shapes[1]
    bounds, held = bounds_of(numbers), [number // 2 for number in numbers]
    edges, ends = np.cumsum(counts), np.cumsum(pixels)
    # Background comes first: an object begins at every even edge and ends at the next; background may come last too.
    objects: Any = slice(1, None, 2)
    inner: Any = slice(1, None)
    if len(numbers) > 1:
        place = counted(np.diff(bounds))
        objects, inner = place % 2 == 1, place > 0
    # A zero first means that the picture begins inside the object; any other zero is a run of no length.
    if counts.min() < 0 or not counts[inner].all() or (edges[bounds[1:] - 1] != ends).any():
        return None
    lengths = np.ascontiguousarray(counts[objects])
    starts = edges[objects] - lengths
    if len(numbers) > 1:
        starts -= np.repeat(ends - pixels, held)
    return Runs(starts, lengths, bounds_of(held), *shapes, dialect.order)


def _is_pairs(dialect: Dialect) -> bool:
    """Whether nothing but its length tells that a cell was cut: counts add up, and our own rows have checksums."""
    return (not dialect.counts and dialect.layout == "long") or dialect.layout == "wide"


def _summable(numbers: Ints) -> bool:
    """Whether their sum fits in 64 bits, as it does in every mask that fits its picture."""
    return not numbers.size or int(numbers.max()) * numbers.size < 2**62


def read_text(text: str, height: int, width: int, dialect: Dialect, *, lenient: bool = False) -> tuple[Runs, list[str]]:
    """Read the text of one cell.

    Returns:
        The runs in the dialect's order, and the repairs that were made (none unless ``lenient``).

    Raises:
        InputError: Overlapping, unsorted or empty runs, a run past the end, an odd number of tokens, a token that is
            not a number, counts that do not add up to the picture; ``where`` names the token, from 1.
    """
    if len(text) == SPREADSHEET_CELL and _is_pairs(dialect):
        raise spreadsheet_fault()
    body, shapes = text.strip(), (np.array([height]), np.array([width]))
    build, fault, repair = (
        (_from_counts, count_fault, _repaired_counts) if dialect.counts else (_from_pairs, pair_fault, _repaired_pairs)
    )
    parsed = _parsed([body], dialect)
    runs = None if parsed is None else build(*parsed, shapes, dialect)
    if runs is not None:
        return runs, []
    if parsed is not None and not lenient:
        raise fault(parsed[0], height, width, dialect)
    if dialect.counts:
        body = _unwrapped(body, height, width)
    if dialect.kind == "counts":
        body = body.strip("[] ").replace(",", " ")
    repairs: list[str] = []
    if dialect.kind == "counts-text":
        numbers, _ = expand_counts([body])
    else:
        numbers, repairs = parse_tokens(body, lenient=lenient)
    if lenient:
        runs, more = repair(numbers, height, width, dialect)
        return runs, repairs + more
    runs = build(numbers, [numbers.size], shapes, dialect)
    if runs is None:
        raise fault(numbers, height, width, dialect)
    return runs, []


def _repaired_pairs(numbers: Ints, height: int, width: int, dialect: Dialect) -> tuple[Runs, list[str]]:
    """Drop, clip, sort and merge until the runs are lawful."""
    done, size = [], height * width
    if numbers.size % 2:
        done.append(f"token {numbers.size}: dropped a start without a length")
        numbers = numbers[:-1]
    starts, lengths = numbers[0::2], numbers[1::2]
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
        shifted = starts.size and dialect.base == 1 and starts[0] == -1
        doubt = "; one begins at 0: if the file counts from 0, all are one pixel off" if shifted else ""
        done.append(f"clipped or dropped {int(clipped.sum())} runs that lie outside the picture{doubt}")
    starts, stops = np.clip(starts, 0, size), np.clip(stops, 0, size)
    keep = ~bad & (stops > starts)
    starts, stops = starts[keep], stops[keep]
    if (starts[1:] < starts[:-1]).any():
        done.append("sorted the runs")
        rank = np.argsort(starts, kind="stable")
        starts, stops = starts[rank], stops[rank]
    overlaps = int((starts[1:] < np.maximum.accumulate(stops)[:-1]).sum())
    if overlaps:
        done.append(f"merged {overlaps} overlapping runs")
        starts, stops = covered(starts, stops)
    return Runs.of_one(starts, stops - starts, height, width, dialect.order), done


def _repaired_counts(counts: Ints, height: int, width: int, dialect: Dialect) -> tuple[Runs, list[str]]:
    """Cut what goes beyond the picture.

    Raises:
        InputError: A count is negative: then nothing says where what follows it lies.
    """
    done, size = [], height * width
    if (counts < 0).any():
        raise count_fault(counts, height, width, dialect)
    whole = total(counts, size)
    if whole != size:
        done.append(f"the counts add up to {whole}, not {size}; what is missing is background, the rest is dropped")
    edges = np.minimum(np.cumsum(counts), size)
    starts, stops = edges[0 : edges.size - edges.size % 2 : 2], edges[1::2]
    keep = stops > starts
    return Runs.of_one(starts[keep], (stops - starts)[keep], height, width, dialect.order).merged(), done


def _unwrapped(body: str, height: int, width: int) -> str:
    """The counts in a cell ``{"size": [h, w], "counts": …}`` or ``b'…'``; other cells are given back as they are."""
    if not body.startswith(("{", "b'", 'b"')):
        return body
    try:
        value: Any = parsed_text(body)
        if isinstance(value, str):
            return value
        counts, (rows, columns) = value["counts"], value["size"]
        size = int(rows), int(columns)
    except (InputError, ValueError, KeyError, TypeError, OverflowError):
        raise InputError(
            "is not a JSON object with size and counts", where="token 1", remedy='Write {"size": [h, w], "counts": …}.'
        ) from None
    if size != (height, width):
        raise InputError(f"names a size of {rows}×{columns}, not {height}×{width}", where="size")
    return counts if isinstance(counts, str) else " ".join(str(count) for count in counts)
