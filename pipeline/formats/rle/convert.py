"""From dialect to dialect and from masks to figures, in constant memory and without painting a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.formats.rle.dialects import Dialect, dialect_named
from pipeline.formats.rle.entries import EntryReader
from pipeline.formats.rle.runs import Runs
from pipeline.formats.rle.tables import write_rows
from pipeline.formats.rle.volume import Entry
from pipeline.formats.rle.writing import write_from

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


def convert(reader: EntryReader, target: str | Path, new: str | Dialect) -> int:
    """Write the masks of a file in another dialect, in the same order.

    Runs are turned from rows to columns by their outline, and checksums are taken from runs: nothing is painted.

    Args:
        reader: The file to read.
        target: File to write, ``.csv``, ``.csv.gz``, ``.parquet``, and ``.json`` for COCO.
        new: Its dialect.

    Returns:
        Number of masks written.

    Raises:
        InputError: A cell cannot be decoded, or the new dialect has no place for it.
    """
    new = dialect_named(new)
    # The header of a wide file comes first and names every organ, so a file is looked through for them beforehand.
    organs = reader.organs() if new.layout == "wide" else ()
    return write_from(target, reader.entries(), lambda cell: cell.where(reader.path), new, organs)


def stats(reader: EntryReader, target: str | Path) -> int:
    """Write a table of each mask's size and place; errors are those of :func:`convert`.

    One row a mask: runs, area in pixels, bounding box (first and last row and column, from 0) and centroid (row and
    column, pixel centres at whole numbers). A whole-volume mask gives one row a slice.

    Args:
        reader: The file to read.
        target: File to write, ``.csv``, ``.csv.gz`` or ``.parquet``.

    Returns:
        Number of rows written.
    """
    count = 0
    with write_rows(target, STATS_COLUMNS) as rows:
        for batch in reader.batches():
            parts = [(cell.row, part) for cell, entry in batch for part in entry.slices()]
            rows.write(_figures(parts))
            count += len(parts)
    return count


def _figures(parts: Sequence[tuple[int, Entry]]) -> Iterator[list[object]]:
    """Rows in the order of :data:`STATS_COLUMNS`, of masks with the numbers of their rows; no volumes among them."""
    runs = Runs.gather([part.runs for _, part in parts])
    columns = (runs.heights, runs.widths, runs.counts, runs.areas)
    table = np.concatenate((np.stack(columns, axis=1), runs.bounding_boxes()), axis=1).tolist()
    for (row, part), values, middle in zip(parts, table, runs.centroids().tolist(), strict=True):
        place = [row, part.scan_id, part.organ, part.axis, part.index]
        if values[2]:
            yield [*place, *values, *(f"{value:.3f}" for value in middle)]
        else:
            yield [*place, *values[:4], None, None, None, None, "", ""]
