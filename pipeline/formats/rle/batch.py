"""Many cells of text ↔ runs at once, in any dialect.

Cells are read here only where nothing is wrong with any of them; :func:`pipeline.formats.rle.codec.read_cell` reads the
others one by one, repairs them where that is asked for, and finds the words for what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.formats.rle.counts_text import compressed, signed_groups
from pipeline.formats.rle.dialects import Dialect
from pipeline.formats.rle.numbers import LIMIT, Ints, is_plain, letters_of
from pipeline.formats.rle.runs import Runs
from pipeline.formats.rle.sheaf import Sheaf, bounds_of


def read_texts(texts: Sequence[str], heights: Sequence[int], widths: Sequence[int], dialect: Dialect) -> Sheaf | None:
    """Read cells of one dialect.

    Args:
        texts: ``N`` cells.
        heights: Rows of each picture.
        widths: Columns of each picture.
        dialect: How to read them.

    Returns:
        Their runs, those that :func:`read_cell` gives; ``None`` where it might refuse or repair one of them.
    """
    bodies = [text.strip() for text in texts]
    sizes = np.array((heights, widths), np.int64)
    if dialect.kind in ("counts", "counts-text"):
        return _read_counts(bodies, sizes, dialect)
    bodies = ["" if body in dialect.empty else body for body in bodies]
    parsed = _numbers(bodies)
    if parsed is None or (parsed[1] % 2).any():
        return None
    numbers, bounds = parsed[0], bounds_of(parsed[1] // 2)
    starts, lengths = numbers[0::2], np.ascontiguousarray(numbers[1::2])
    if dialect.kind == "gap-length":
        ends = np.cumsum(starts + lengths)
        before = np.concatenate(([0], ends))[bounds[:-1]]
        starts = ends - lengths - np.repeat(before, np.diff(bounds))
    sheaf = Sheaf(starts - dialect.base, lengths, bounds, sizes[0], sizes[1], dialect.order)
    return sheaf if _lawful(sheaf) else None


def _numbers(bodies: list[str]) -> tuple[Ints, Ints] | None:
    """All numbers of stripped texts, and how many each has."""
    counts = np.array([body.count(" ") + 1 if body else 0 for body in bodies], np.int64)
    joined = " ".join([body for body in bodies if body])
    if not joined:
        return np.empty(0, np.int64), counts
    if not is_plain(joined):
        return None
    numbers = np.fromstring(joined, dtype=np.int64, sep=" ")
    # More blanks than one between two numbers make the counts wrong; numbers beyond 64 bits are clipped.
    return (numbers, counts) if numbers.size == counts.sum() and numbers.max() < LIMIT else None


def _lawful(sheaf: Sheaf) -> bool:
    if not sheaf.starts.size:
        return True
    stops = sheaf.starts + sheaf.lengths
    early = sheaf.starts[1:] < stops[:-1]
    inner = sheaf.bounds[(sheaf.bounds > 0) & (sheaf.bounds < sheaf.starts.size)]
    early[inner - 1] = False
    sizes = np.repeat(sheaf.heights * sheaf.widths, sheaf.counts)
    return bool(not early.any() and (sheaf.lengths > 0).all() and (sheaf.starts >= 0).all() and (stops <= sizes).all())


def _read_counts(bodies: list[str], sizes: NDArray[np.int64], dialect: Dialect) -> Sheaf | None:
    parsed = _numbers([_listed(body) for body in bodies]) if dialect.kind == "counts" else _expanded(bodies)
    if parsed is None or not parsed[1].all():
        return None
    counts, numbers = parsed
    bounds = bounds_of(numbers)
    inner = np.ones(counts.size, np.bool_)
    inner[bounds[:-1]] = False
    if (counts < 0).any() or (counts[inner] == 0).any() or counts.max() >= LIMIT:
        return None
    edges = np.cumsum(counts)
    edges -= np.repeat(np.concatenate(([0], edges))[bounds[:-1]], numbers)
    if not np.array_equal(edges[bounds[1:] - 1], sizes[0] * sizes[1]):
        return None
    # Background comes first: an object begins at every even edge and ends at the next; background may come last too.
    odd = (np.arange(counts.size) - np.repeat(bounds[:-1], numbers)) % 2 == 1
    starts, lengths = edges[:-1][odd[1:]], counts[odd]
    return Sheaf(starts, lengths, bounds_of(numbers // 2), sizes[0], sizes[1], dialect.order)


def _listed(body: str) -> str:
    """A list of numbers without its brackets and commas."""
    return body[1:-1].replace(", ", " ") if body[:1] == "[" and body[-1:] == "]" else body


def _expanded(bodies: list[str]) -> tuple[Ints, Ints] | None:
    """All counts of COCO's compressed texts, and how many each has; see :mod:`pipeline.formats.rle.counts_text`."""
    if not all(body and body.isascii() and not body.startswith("{") for body in bodies):
        return None
    try:
        values, ends = signed_groups("".join(bodies))
    except InputError:
        return None
    reach = np.cumsum([len(body) for body in bodies])
    upto = np.searchsorted(ends, reach - 1)
    if not np.array_equal(ends[np.minimum(upto, ends.size - 1)], reach - 1):
        return None
    bounds = np.concatenate(([0], upto + 1))
    # From the fourth on each is its difference plus the count two before it: sums over every other value of a cell.
    first = bounds[:-1]
    numbers = np.diff(bounds)
    sums = np.empty(values.size, np.int64)
    for parity in (0, 1):
        sums[parity::2] = np.cumsum(values[parity::2])
    owner = np.repeat(first, numbers)
    place = np.arange(values.size) - owner
    # What the sums held when the cell began: at odd places up to the value before it, at even ones with its first.
    before = np.where(place % 2 == 1, owner - 1, owner)
    counts = sums - np.where(before >= 0, sums[before], 0)
    counts[first] = values[first]
    return counts, numbers


def write_texts(pictures: Sequence[Runs], dialect: Dialect) -> list[str]:
    """The cells of pictures, as :func:`pipeline.formats.rle.codec.write_cell` writes each."""
    if not pictures:
        return []
    sheaf = Sheaf.of(pictures).to_order(dialect.order).merged()
    if dialect.kind in ("counts", "counts-text"):
        return _count_texts(sheaf, dialect)
    pairs = np.empty(2 * sheaf.starts.size, np.int64)
    pairs[1::2] = sheaf.lengths
    filled = sheaf.counts > 0
    if dialect.kind == "gap-length" and sheaf.starts.size:
        # A picture's first gap counts from its beginning, where the number of the first pixel comes in.
        before = np.concatenate(([0], (sheaf.starts + sheaf.lengths)[:-1]))
        before[sheaf.bounds[:-1][filled]] = -dialect.base
        pairs[0::2] = sheaf.starts - before
    else:
        pairs[0::2] = sheaf.starts + dialect.base
    texts = _joined(pairs, 2 * sheaf.counts[filled])
    left = iter(texts)
    return [dialect.lead + (next(left) if full else dialect.empty[0]) for full in filled.tolist()]


def _joined(values: Ints, counts: Ints) -> list[str]:
    """Lists of numbers that are not negative, each with single blanks between them."""
    if not values.size:
        return []
    letters, keep = letters_of(values)
    letters[-1, np.cumsum(counts) - 1] = ord("\n")
    keep[-1, -1] = False
    return letters.T[keep.T].tobytes().decode("ascii").split("\n")


def _count_texts(sheaf: Sheaf, dialect: Dialect) -> list[str]:
    sizes = sheaf.heights * sheaf.widths
    stops = sheaf.starts + sheaf.lengths
    # A picture's edges are those of its runs, and its end where background comes last.
    ends = np.zeros(len(sheaf), np.int64)
    filled = sheaf.counts > 0
    ends[filled] = stops[sheaf.bounds[1:][filled] - 1]
    open_ = (ends < sizes) | ~filled
    numbers = 2 * sheaf.counts + open_
    bounds = bounds_of(numbers)
    edges = np.empty(int(bounds[-1]), np.int64)
    place = 2 * np.arange(sheaf.starts.size) + (bounds[:-1] - 2 * sheaf.bounds[:-1])[sheaf.owner]
    edges[place], edges[place + 1] = sheaf.starts, stops
    edges[bounds[1:][open_] - 1] = sizes[open_]
    counts = np.diff(edges, prepend=0)
    counts[bounds[:-1]] = edges[bounds[:-1]]
    if dialect.kind == "counts":
        return [f"[{text.replace(' ', ', ')}]" for text in _joined(counts, numbers)]
    return compressed(counts, bounds)
