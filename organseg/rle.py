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

from pipeline.formats.rle import known_dialect
from pipeline.formats.rle.codec import decode, encode
from pipeline.formats.rle.convert import convert as run
from pipeline.formats.rle.detection import Detection, Scored
from pipeline.formats.rle.detection import detect as weigh
from pipeline.formats.rle.entries import EntryReader
from pipeline.formats.rle.pictures import picture_sizes

__all__ = ["Detection", "Scored", "convert", "decode", "detect", "encode"]

Size = tuple[int, int]


def detect(path: str | Path, *, size: Size | None = None, images: str | Path | None = None) -> Detection:
    """Weigh the evidence for each dialect that a file may be in.

    Args:
        path: CSV, Parquet or COCO JSON, gzipped or not.
        size: ``(height, width)`` in pixels of pictures whose size the file does not say.
        images: Folder of the pictures: their sizes, and evidence.

    Returns:
        The dialect that stands out, or ``None``, with the reason and every reading's score.

    Raises:
        InputError: The file is not readable.
    """
    sizes, pictures = picture_sizes(Path(images)) if images is not None else ({}, {})
    return weigh(path, size=size, sizes=sizes, pictures=pictures)


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
        source: CSV, Parquet or COCO JSON, gzipped or not.
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
    sizes = picture_sizes(Path(images))[0] if images is not None else {}
    reader = EntryReader(source, size=size, sizes=sizes, lenient=lenient)
    return run(source, known_dialect(source, dialect), target, to, reader)
