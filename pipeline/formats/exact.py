"""Numbers kept small without changing them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_KEPT = (np.uint8, np.int16, np.uint16, np.int32)


def smallest_exact(data: NDArray[Any]) -> NDArray[Any]:
    """The same values in native byte order as uint8, int8, int16, uint16, int32 or float32."""
    return data.astype(exact_dtype(data), copy=False)


def exact_dtype(data: NDArray[Any]) -> np.dtype[Any]:
    """The dtype of :func:`smallest_exact`.

    Integers of more than 32 bits go to int32 where they fit, else to float32. Floats go to float32; whole numbers among
    them stay floats, because the next file of the same set may hold fractions.
    """
    if data.dtype.kind == "b":
        return np.dtype(np.uint8)
    if data.dtype.kind in "iu":
        if data.dtype.itemsize <= 2 or (data.dtype.kind == "i" and data.dtype.itemsize == 4):
            return data.dtype.newbyteorder("=")
        low, high = (int(data.min()), int(data.max())) if data.size else (0, 0)
        info = np.iinfo(np.int32)
        return np.dtype(np.int32 if info.min <= low and high <= info.max else np.float32)
    return np.dtype(np.float32)


def smallest_integer(low: int, high: int) -> np.dtype[Any]:
    """The smallest dtype of uint8, int16, uint16 and int32 that holds ``low`` to ``high``, else float32."""
    for kind in _KEPT:
        info = np.iinfo(kind)
        if info.min <= low and high <= info.max:
            return np.dtype(kind)
    return np.dtype(np.float32)


def linear(data: NDArray[Any], slope: float, intercept: float, ends: tuple[int, int] | None = None) -> NDArray[Any]:
    """``slope × data + intercept``: of integers as integers where slope and intercept are whole, else in float32.

    Args:
        data: Integers or floats.
        slope: Factor.
        intercept: Added after multiplying.
        ends: Smallest and largest value that integers may take; by default those that occur.
    """
    if slope == 1 and intercept == 0:
        return data
    if data.dtype.kind in "iu" and float(slope).is_integer() and float(intercept).is_integer():
        low, high = ends or (int(data.min()), int(data.max()))
        kind = smallest_integer(*sorted((int(slope) * low + int(intercept), int(slope) * high + int(intercept))))
        if kind.kind in "iu":
            return (data.astype(np.int64) * int(slope) + int(intercept)).astype(kind)
    return (data.astype(np.float64) * slope + intercept).astype(np.float32)
