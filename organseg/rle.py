"""Masks as run lengths, in the dialects of competitions and tools.

    >>> import numpy as np
    >>> from organseg import rle
    >>> mask = np.zeros((3, 4), bool)
    >>> mask[1, 1:3] = True
    >>> rle.encode(mask, "kaggle")
    '5 1 8 1'

``organseg rle dialects`` lists the dialects by name.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.formats.rle.codec import decode, encode
from pipeline.formats.rle.convert import convert as run
from pipeline.formats.rle.detection import Detection, Scored, detect
from pipeline.formats.rle.entries import EntryReader

__all__ = ["Detection", "Scored", "convert", "decode", "detect", "encode"]

Size = tuple[int, int]


def convert(
    source: str | Path,
    target: str | Path,
    to: str,
    *,
    dialect: str | None = None,
    size: Size | None = None,
    images: str | Path | None = None,
    lenient: bool = False,
) -> int:
    """Write the masks of a file in another dialect, in the same order and without painting one.

    Args:
        source: File to read: CSV, Parquet or COCO JSON, gzipped or not.
        target: File to write: ``.csv``, ``.csv.gz``, ``.parquet``, or ``.json`` for COCO.
        to: Dialect to write.
        dialect: Dialect of ``source``; may be left out where the file names its own. :func:`detect` weighs the others.
        size: ``(height, width)`` in pixels of pictures whose size the file does not say.
        images: Folder of the pictures, for their sizes.
        lenient: Repair what can be repaired: clip, sort and merge runs.

    Returns:
        Number of masks written.

    Raises:
        InputError: A mask cannot be decoded, or the new dialect has no place for it; the message names row and token.
    """
    return run(EntryReader(source, dialect, size=size, images=images, lenient=lenient), target, to)
