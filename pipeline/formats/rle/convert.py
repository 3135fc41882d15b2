"""From dialect to dialect and from masks to figures, in constant memory and without painting a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.formats.rle.cells import Progress, read_cells
from pipeline.formats.rle.dialects import Dialect, dialect_named
from pipeline.formats.rle.entries import EntryReader
from pipeline.formats.rle.sheaf import Sheaf
from pipeline.formats.rle.tables import write_rows
from pipeline.formats.rle.volume import Entry
from pipeline.formats.rle.writing import batched, open_masks, write_from

STATS_COLUMNS = (
    "row",
    "scan_id",
    "organ",
    "axis",
    "slice",
    "height",
    "width",
    "runs",
    "area",
    "top",
    "left",
    "bottom",
    "right",
    "centroid_row",
    "centroid_column",
)


def convert(
    source: str | Path,
    old: str | Dialect,
    target: str | Path,
    new: str | Dialect,
    reader: EntryReader,
    *,
    organ_columns: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> int:
    """Write the masks of a file in another dialect, in the same order.

    Runs are turned from rows to columns by their outline, and checksums are taken from runs: nothing is painted.

    Args:
        source: File to read.
        old: Its dialect.
        target: File to write, ``.csv``, ``.csv.gz``, ``.parquet``, and ``.json`` for COCO.
        new: Its dialect.
        reader: How cells of ``source`` are decoded.
        organ_columns: Columns of masks in a wide ``source``.
        progress: Takes the share of the file that was read.

    Returns:
        Number of masks written.

    Raises:
        InputError: A cell cannot be decoded, or the new dialect has no place for it.
    """
    old, new = dialect_named(old), dialect_named(new)
    organs: Sequence[str] = ()
    if new.layout == "wide":
        # The header comes first and names every organ, so a file is looked through for them beforehand.
        organs = list(dict.fromkeys(cell.organ for cell in read_cells(source, old, organ_columns=organ_columns)))
    cells = read_cells(source, old, organ_columns=organ_columns, progress=progress)
    with open_masks(target, new, organs) as writer:
        return write_from(writer, reader.entries(cells), lambda at: str(source) if at is None else at.where(source))


def stats(
    source: str | Path,
    dialect: str | Dialect,
    target: str | Path,
    reader: EntryReader,
    *,
    organ_columns: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> int:
    """Write a table of each mask's size and place; arguments and errors are those of :func:`convert`.

    One row a mask: runs, area in pixels, bounding box (first and last row and column, from 0) and centroid (row and
    column, pixel centres at whole numbers). A whole-volume mask gives one row a slice.

    Returns:
        Number of rows written.
    """
    count = 0
    cells = read_cells(source, dialect_named(dialect), organ_columns=organ_columns, progress=progress)
    found = ((cell.row, part) for cell, entry in reader.entries(cells) for part in entry.slices())
    with write_rows(target, STATS_COLUMNS) as rows:
        for group in batched(found, weight=lambda pair: pair[1].runs.count):
            figures = figures_of([part for _, part in group])
            rows.write([row, *values] for (row, _), values in zip(group, figures, strict=True))
            count += len(group)
    return count


def figures_of(entries: Sequence[Entry]) -> Iterator[list[object]]:
    """Figures of masks, in the order of :data:`STATS_COLUMNS` without the row number; no volumes among them."""
    sheaf = Sheaf.of([entry.runs for entry in entries])
    columns = (sheaf.heights, sheaf.widths, sheaf.counts, sheaf.areas)
    table = np.concatenate((np.stack(columns, axis=1), sheaf.bounding_boxes()), axis=1).tolist()
    middles = sheaf.centroids().tolist()
    for entry, values, (row, column) in zip(entries, table, middles, strict=True):
        if values[2]:
            rest: list[object] = [*values, f"{row:.3f}", f"{column:.3f}"]
        else:
            rest = [*values[:4], None, None, None, None, "", ""]
        yield [entry.scan_id, entry.organ, entry.axis, entry.index, *rest]
