"""From dialect to dialect and from masks to figures, cell by cell and without painting a picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.formats.rle.cells import Progress, read_cells
from pipeline.formats.rle.dialects import Dialect, dialect_named
from pipeline.formats.rle.entries import EntryReader
from pipeline.formats.rle.tables import write_rows
from pipeline.formats.rle.volume import Entry
from pipeline.formats.rle.writing import open_masks

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

    Runs are turned from rows to columns by their outline; our own dialect alone paints masks, once each, for
    their checksum.

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
    count = 0
    with open_masks(target, new, organs) as writer:
        for cell in read_cells(source, old, organ_columns=organ_columns, progress=progress):
            try:
                writer.write(reader.read(cell))
            except InputError as error:
                raise InputError(error.what, where=error.where or cell.where(source), remedy=error.remedy) from None
            count += 1
    return count


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
    with write_rows(target, STATS_COLUMNS) as rows:
        for row, figures in stats_rows((cell.row, reader.read(cell)) for cell in cells):
            rows.write([row, *figures])
            count += 1
    return count


def stats_rows(entries: Iterable[tuple[int, Entry]]) -> Iterator[tuple[int, list[object]]]:
    """Figures of masks, in the order of :data:`STATS_COLUMNS` without the row number, which is passed on."""
    for row, entry in entries:
        for part in entry.slices():
            runs = part.runs
            box = runs.bounding_box() or (None, None, None, None)
            centroid = runs.centroid()
            middle = ("", "") if centroid is None else (f"{centroid[0]:.3f}", f"{centroid[1]:.3f}")
            yield (
                row,
                [
                    part.scan_id,
                    part.organ,
                    part.axis,
                    part.index,
                    runs.height,
                    runs.width,
                    runs.count,
                    runs.area,
                    *box,
                    *middle,
                ],
            )
