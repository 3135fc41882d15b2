"""Masks as run lengths: the rows of an RLE file that belong to one scan, on the grid of its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.scan import Scan, permute, to_canonical
from pipeline.core.study import Ingest, Organ
from pipeline.formats.rle.table import RleTable


def read_rle_masks(
    path: Path, scan: Scan, organs: Mapping[str, Organ], options: Ingest, names: Sequence[str]
) -> dict[str, NDArray[np.bool_]]:
    """Read the masks of one scan from an RLE CSV, Parquet or COCO file of any dialect.

    Args:
        path: The file.
        scan: The scan in canonical orientation; the runs count on the grid of its file, before any crop.
        organs: The study's organs.
        options: ``rle_dialect`` for files that do not name their own.
        names: What the scan may be called in the file, the likeliest first.

    Returns:
        Organ → ``(X, Y, Z)`` mask on the grid of the scan's file, in canonical orientation.

    Raises:
        InputError: The scan is not in the file, or its runs are not right.
    """
    table = _table(str(path), path.stat().st_mtime_ns, options.rle_dialect)
    stored = scan.stored or scan.grid
    aliases = {alias: name for name, organ in organs.items() for alias in organ.aliases}
    masks = table.masks(_known(table, names), list(organs), stored.shape, aliases=aliases)
    if scan.is_flat:
        return masks
    axes, flips = to_canonical(stored)
    return {organ: permute(mask, axes, flips) for organ, mask in masks.items()}


@lru_cache(maxsize=4)
def _table(path: str, changed: int, dialect: str | None) -> RleTable:
    """An indexed file is kept, because all scans of a study share it; ``changed`` is its modification time."""
    return RleTable(path, dialect)


def _known(table: RleTable, names: Sequence[str]) -> str:
    """The first name that the file knows."""
    for name in names:
        try:
            if table.cells(name):
                return name
        except InputError:
            continue
    raise InputError(
        "the file of run lengths has no rows of this scan",
        remedy="Its image column must hold the scan_id or the name of the scan's file.",
    )
