"""Units of lengths and sizes: written one way everywhere, with the number of them that a voxel makes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

LengthUnit = Literal["mm", "px"]
SizeUnit = Literal["mL", "cm²", "voxels", "px²"]


def length_unit(spacing_source: str) -> LengthUnit:
    """Unit of a scan's lengths, from where its spacing comes from: ``px`` where that is ``unknown``."""
    return "px" if spacing_source == "unknown" else "mm"


def size_unit(unit: LengthUnit, *, flat: bool) -> SizeUnit:
    """Unit of an organ's size: ``mL``, of pictures ``cm²``; ``voxels`` and ``px²`` where the spacing is unknown."""
    if unit == "px":
        return "px²" if flat else "voxels"
    return "cm²" if flat else "mL"


def voxel_amount(spacing: Sequence[float], unit: LengthUnit, *, flat: bool) -> float:
    """Size of one voxel in :func:`size_unit`.

    Args:
        spacing: Along each axis, in ``unit``; a picture's third axis does not count.
        unit: Of the spacing.
        flat: Whether this is a picture.
    """
    if unit == "px":
        return 1.0
    return math.prod(spacing[:2]) / 100 if flat else math.prod(spacing) / 1000
