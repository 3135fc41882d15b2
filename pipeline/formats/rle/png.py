"""Masks as PNG files of 0 and 255, packed by ISA-L: about forty times as fast as through Pillow."""

from __future__ import annotations

import numpy as np

from pipeline.formats.pictures.png import GREY, assembled
from pipeline.formats.rle.runs import Mask

#: ISA-L's level for one long string of two values: the smallest files, in a fifth of a millisecond for 1024².
_LEVEL = 1


def png_of(mask: Mask) -> bytes:
    """A ``(height, width)`` picture as a greyscale PNG file of 8 bits, by the PNG specification (ISO/IEC 15948)."""
    height, width = mask.shape
    # Every row begins with the number of its filter: 0, none.
    rows = np.zeros((height, width + 1), np.uint8)
    np.multiply(mask.view(np.uint8), 255, out=rows[:, 1:])
    return assembled(rows, width, GREY, _LEVEL)
