"""The ``rle`` stage: all ingested masks of a study in one table of run lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.core.files import read_table
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.core.units import length_unit
from pipeline.formats.rle import write_masks
from pipeline.formats.rle.volume import on_stored_grid
from pipeline.formats.store import read_labels, read_scan


def run(study: Study, paths: StudyPaths, *, say: Callable[[str], None] = lambda line: None) -> Path:
    """Write ``results/<study>/masks.rle.csv`` in the dialect that the study names.

    Volumes are cut along the axes of the files that the scans came in; pictures have their files' size.

    Args:
        study: The study's config.
        paths: Where the study's masks lie.
        say: Takes one line of progress.

    Returns:
        The file written.

    Raises:
        InputError: Nothing was ingested yet, a mask is not readable, or the dialect has no place for the organs.
    """
    dialect = study.export.rle_dialect
    scans = sorted(read_table(paths.scans_csv), key=lambda row: row["scan_id"])
    # A scan without masks was ingested too; it has no rows here.
    masks = [(row, path) for row in scans if (path := paths.mask(row["shard"], row["scan_id"])).is_file()]

    def items() -> Iterator[tuple[str, LabelMap, str]]:
        for row, path in masks:
            labels = read_labels(path)
            if labels.grid.shape[2] > 1 or study.ingest.crop_borders:
                labels = on_stored_grid(read_scan(paths.scan(row["shard"], row["scan_id"])), labels)
            yield row["scan_id"], labels, length_unit(row["spacing_source"])

    count = write_masks(paths.masks_rle, items(), dialect, organs=study.organ_names())
    say(f"rle: {count} masks of {len(masks)} scans in dialect {dialect}")
    return paths.masks_rle
