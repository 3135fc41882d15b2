"""Limits of reading, in one place: the sizes that a header may promise, seconds and memory.

A study sets ``ingest.seconds`` and ``ingest.memory_gib``; without a study the same defaults hold, but where one scan at
a time is predicted, which may take the machine's memory if its file is not packed beyond what scans ever are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress

from pipeline.core.errors import InputError
from pipeline.core.machine import memory_bytes
from pipeline.core.study import Ingest

#: Seconds that a fresh process may take to be there; that a look at each of many files may take; at one file alone.
STARTING, LOOKING_AT_ONE, PROBING = 120.0, 0.1, 10.0
#: Seconds between the caller's limit and the moment when a worker without a caller ends itself.
GRACE = 5
#: GiB that reading one scan may take at least, where the machine has less.
LEAST_GIB = 4.0
#: Bytes that any header may promise; above them a file must not be packed more tightly than ``MOST_PACKED`` to one.
#: Scans shrink to a half or a tenth, label volumes to a hundredth; bombs to a thousandth.
UNQUESTIONED, MOST_PACKED = 1 << 30, 300
#: Bytes that a header may take: of text, and of any kind, extensions included.
LONGEST_TEXT_HEADER, LONGEST_HEADER = 1 << 20, 1 << 30
#: No scan is longer than this (mm, whole bodies take 2000), nor fills this (mm³, a cubic metre and more) with voxels
#: larger than ``COARSE`` (mm³), nor has voxels of ``COARSEST`` (mm³): those are micrometres taken for millimetres.
LONGEST_SCAN, LARGEST_SCAN, COARSE, COARSEST = 3000.0, float(1 << 30), 500.0, 8000.0
#: Voxels that a scan may have once it is resampled, and how many times of its own where those are many.
MOST_RESAMPLED, MANY_RESAMPLED, MOST_GROWTH = 1 << 31, 1 << 24, 1000
#: The largest factor by which deflate can shrink data (RFC 1951: 258 bytes in 2 bits).
DEFLATE_LIMIT = 1032


def check_size(
    shape: Sequence[int], itemsize: int, options: Ingest, stored: int | None = None, *, what: str = "the header"
) -> int:
    """Check the size that a header promises.

    Args:
        shape: Voxels along each axis, channels and frames included.
        itemsize: Bytes a voxel.
        options: Gives ``memory_gib``; an image may take a quarter of it, because reading works on copies.
        stored: Bytes of the file that is to hold them, where it holds nothing else.
        what: What promises them.

    Returns:
        The bytes promised.

    Raises:
        InputError: A side is not positive, or the whole does not fit.
    """
    sides = [int(n) for n in shape]
    named = " × ".join(str(n) for n in sides)
    if any(n <= 0 for n in sides):
        raise InputError(f"{what} promises an empty image ({named})")
    promised = math.prod(sides) * itemsize
    if promised > options.memory_gib * 2**30 / 4:
        raise InputError(
            f"{what} promises {named} values, {promised / 2**30:,.2f} GiB",
            remedy="If that is true, raise ingest.memory_gib to at least four times as much.",
        )
    if stored is not None and promised > max(UNQUESTIONED, MOST_PACKED * stored):
        raise InputError(f"{what} promises {promised / 2**30:,.2f} GiB in a file of {stored:,} bytes")
    return promised


def check_extent(shape: Sequence[int], spacing: Sequence[float]) -> None:
    """Check that a scan is no larger than patients and scanners are.

    Args:
        shape: Voxels along each axis; one along the last is a picture, whose thickness is not looked at.
        spacing: mm along each axis.

    Raises:
        InputError: It is.
    """
    axes = range(2 if shape[2] == 1 else 3)
    extent = [shape[axis] * spacing[axis] for axis in axes]
    voxel = math.prod(spacing[axis] for axis in axes) if len(axes) == 3 else 0.0
    if max(extent) <= LONGEST_SCAN and voxel <= COARSEST and (voxel <= COARSE or math.prod(extent) <= LARGEST_SCAN):
        return
    sizes, sides = (" × ".join(f"{value:.4g}" for value in values) for values in ([spacing[a] for a in axes], extent))
    raise InputError(
        f"voxels of {sizes} mm make a scan of {sides} mm, larger than any patient: they are micrometres, or wrong",
        remedy="Correct the voxel sizes in the file.",
    )


def check_resampled(shape: Sequence[int], spacing: Sequence[float], new: Sequence[float]) -> None:
    """Check that a scan can be resampled to a model's spacing with reason.

    Args:
        shape: Voxels of the scan along each axis.
        spacing: Its spacing.
        new: Voxels along each axis after resampling.

    Raises:
        InputError: There would be too many, or far more than the scan has.
    """
    before, after = math.prod(shape), math.prod(int(n) for n in new)
    if after > MOST_RESAMPLED or (after > MANY_RESAMPLED and after > MOST_GROWTH * before):
        named = " × ".join(f"{value:.4g}" for value in spacing)
        raise InputError(
            f"at the model's spacing the scan would have {after:,} voxels instead of {before:,}; it says that its "
            f"voxels are {named} mm, and the scan has too many voxels or a wrong spacing",
            remedy="Check the scan's spacing.",
        )


def machine_gib() -> float:
    """GiB of memory that this machine has, or ``LEAST_GIB`` where that is more."""
    return max(LEAST_GIB, memory_bytes() / 2**30)


def check_compressed(promised: int, stored: int) -> None:
    """Check that deflated data of ``stored`` bytes can hold ``promised`` bytes.

    Raises:
        InputError: It cannot.
    """
    if promised > stored * DEFLATE_LIMIT:
        raise InputError(f"the header promises {promised:,} bytes, more than {stored:,} compressed bytes can hold")


def limit_memory(gib: float) -> None:
    """Let the address space grow by ``gib`` beyond what the process has now; Windows knows no such limit."""
    try:
        import resource
    except ModuleNotFoundError:
        return

    try:
        with open("/proc/self/statm") as stream:
            now = int(stream.read().split()[0]) * resource.getpagesize()
    except OSError:
        now = 0
    limit = now + int(gib * 2**30)
    with suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
