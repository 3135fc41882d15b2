"""The rules of the plan: from the fingerprint's numbers to sizes, spacings, patches and network shapes. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Sides that pictures are fitted into.
PICTURE_SIDES = (128, 192, 256, 384, 512, 768, 1024)
#: The side that a picture gets where its organs are not small.
USUAL_SIDE = 256
#: Pixels across the smallest organ (root of its median area) that a picture is made large enough for.
ORGAN_ACROSS = 24
#: Voxels a patch holds at most.
PATCH_VOXELS = {2: 512 * 512, 3: 96**3}
#: A patch may hold the largest scan whole if that one has at most this many times the voxels of the median scan.
LARGEST_TO_MEDIAN = 1.25
#: Voxels a batch holds, about: more steps of small batches learn more in the same time than few steps of large ones.
BATCH_VOXELS = 200_000
#: Learning rate of Muon's kernels; twice and half of it learn less in as many steps (hippocampus, 700 steps).
MUON_RATE = 0.04
#: Budgets up to these are short.
SHORT_STEPS, SHORT_MINUTES = 500, 3.0
#: Share of the voxels below which an organ counts as small.
SMALL_ORGAN = 0.02
#: Spacings that differ by more than this make a scan anisotropic.
ANISOTROPY = 3.0
#: No side is halved below this; the network sees context, not noise.
LEAST_SIDE = 5
MOST_LEVELS = 6


@dataclass(frozen=True)
class Topology:
    """Shape of an encoder-decoder network.

    Attributes:
        patch: Sides, rounded up so that every halving is even.
        strides: Stride on entering each level, one an axis; the first is all ones.
        kernels: Kernel of each level, one an axis.
    """

    patch: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]


def picture_side(longer: float, organ_share: float | None) -> tuple[int, str]:
    """Side of the square box that pictures are fitted into.

    Args:
        longer: Median of the pictures' longer sides, pixels.
        organ_share: Median share of the picture that its smallest organ covers, or ``None``.

    Returns:
        The side and its reason.
    """
    needed, reason = USUAL_SIDE, f"{USUAL_SIDE} pixels show organs of this size well"
    if organ_share:
        across = math.sqrt(organ_share)
        if across * needed < ORGAN_ACROSS:
            needed = math.ceil(ORGAN_ACROSS / across)
            reason = f"the smallest organ is then {ORGAN_ACROSS} pixels across"
    side = next((s for s in PICTURE_SIDES if s >= needed), PICTURE_SIDES[-1])
    if side > longer:
        fitting = [s for s in PICTURE_SIDES if s <= longer] or [PICTURE_SIDES[0]]
        return fitting[-1], f"the pictures have no more than {longer:.0f} pixels"
    return side, reason


def target_spacing(median: Sequence[float], low: Sequence[float], extent: Sequence[float]) -> tuple[list[float], str]:
    """Spacing that volumes are resampled to.

    The median, but along an axis that is more than three times as coarse as the finest, and has so few voxels more
    than by that factor, the 10th percentile: so the finer scans do not lose their slices (nnU-Net's rule).

    Args:
        median: Median spacing along each axis.
        low: 10th percentile of the spacing along each axis.
        extent: Median extent along each axis.
    """
    spacing = [float(s) for s in median]
    coarse = max(range(3), key=lambda axis: spacing[axis])
    others = [axis for axis in range(3) if axis != coarse]
    voxels = [e / s for e, s in zip(extent, spacing, strict=True)]
    finest = min(spacing[axis] for axis in others)
    if spacing[coarse] > ANISOTROPY * finest and voxels[coarse] * ANISOTROPY < min(voxels[axis] for axis in others):
        # Never finer than the other axes: voxels would be made up.
        spacing[coarse] = max(float(low[coarse]), max(spacing[axis] for axis in others))
        return [round(s, 4) for s in spacing], "median; the coarse axis takes the 10th percentile (anisotropic scans)"
    return [round(s, 4) for s in spacing], "median of the development scans"


def patch_sides(
    median: Sequence[float], largest: Sequence[float], spacing: Sequence[float], most: int
) -> tuple[list[int], str]:
    """Sides of the patch before they are rounded for the network.

    Args:
        median: Median size in voxels, along the network's axes.
        largest: Largest size in voxels.
        spacing: Spacing along the network's axes.
        most: Voxels that a patch may hold.
    """
    whole = [math.ceil(size - 1e-6) for size in largest]
    usual = [math.ceil(size - 1e-6) for size in median]
    if math.prod(whole) <= most and math.prod(whole) <= LARGEST_TO_MEDIAN * math.prod(usual):
        return whole, "the largest scan fits in whole"
    sides = [max(side, 1) for side in usual]
    if math.prod(sides) <= most:
        return sides, "the median scan fits in whole"
    while math.prod(sides) > most:
        # The side that is longest in space gives way, so the patch tends to a cube in millimetres.
        longest = max(range(len(sides)), key=lambda axis: (sides[axis] * spacing[axis], sides[axis]))
        sides[longest] -= max(sides[longest] // 16, 1)
    return sides, f"as near to a cube in space as {most:,} voxels allow"


def topology(sides: Sequence[int], spacing: Sequence[float]) -> Topology:
    """Strides, kernels and rounded sides for a patch.

    An axis is halved while it keeps :data:`LEAST_SIDE` voxels and is no coarser than twice the finest axis; until its
    neighbours have caught up, kernels do not reach along a coarse axis (nnU-Net's rule).
    """
    dims = len(sides)
    current, gaps = [float(side) for side in sides], [float(gap) for gap in spacing]
    strides: list[tuple[int, ...]] = [(1,) * dims]
    kernels: list[tuple[int, ...]] = []
    while True:
        finest = min(gaps)
        kernels.append(
            tuple(3 if gap <= 2 * finest and side > 1 else 1 for gap, side in zip(gaps, current, strict=True))
        )
        able = [axis for axis in range(dims) if math.ceil(current[axis] / 2) >= LEAST_SIDE]
        if not able or len(strides) == MOST_LEVELS:
            break
        near = min(gaps[axis] for axis in able)
        halved = [axis for axis in able if gaps[axis] <= 2 * near]
        strides.append(tuple(2 if axis in halved else 1 for axis in range(dims)))
        for axis in halved:
            current[axis] /= 2
            gaps[axis] *= 2
    steps = [math.prod(stride[axis] for stride in strides) for axis in range(dims)]
    patch = tuple(-(-side // step) * step for side, step in zip(sides, steps, strict=True))
    return Topology(patch, tuple(strides), tuple(kernels))


def batch_size(patch: Sequence[int], scans: int) -> tuple[int, str]:
    """Patches of a batch: about a fixed number of voxels, 2 to 16, and no more than there are scans."""
    wanted = round(BATCH_VOXELS / math.prod(patch))
    size = max(min(wanted, 16, scans), min(2, scans))
    return size, f"about {BATCH_VOXELS:,} voxels a batch, 2 to 16 patches"


def feature_counts(levels: int, dims: int, short: bool = False) -> tuple[list[int], str]:
    """Features of each level: 16, 32, 64 … up to 256; in 3-D only 8 at the full resolution, in short trainings half.

    Args:
        levels: Levels of the network.
        dims: 2 or 3.
        short: Whether the budget is short, so that more steps of a smaller network learn more.

    Returns:
        The counts and their reason.
    """
    counts = [min(16 * 2**level, 256) for level in range(levels)]
    if dims == 2 or levels == 1:
        return counts, "features double from level to level"
    if short:
        return [count // 2 for count in counts], "half the usual features, as the budget is short"
    # The full resolution is half of the arithmetic, and adds little but edges to what the levels below see.
    return [8, *counts[1:]], "few features at the full resolution, which is half of the arithmetic"


def is_short(steps: int | None, minutes: float | None) -> bool:
    """Whether a budget is short."""
    return (steps is not None and steps <= SHORT_STEPS) or (minutes is not None and minutes <= SHORT_MINUTES)
