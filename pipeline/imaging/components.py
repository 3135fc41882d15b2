"""Connected components of masks: clean-up, lesion-wise detection, and why a segmentation lost Dice.

Components are connected by faces, edges and corners (26 neighbours in a volume, 8 in a picture), as in nnU-Net.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.core.arrays import ROOM, row_chunks, zeros
from pipeline.imaging.surfaces import Mask, boundary, bounding_box, nearest_distances

#: Share of a lesion that must be covered for it to count as found.
LESION_OVERLAP = 0.1


def components(mask: Mask) -> tuple[NDArray[np.int32], int]:
    """Number the components of a mask.

    Args:
        mask: ``(X, Y[, Z])``.

    Returns:
        Component of each voxel (0 is outside), and how many there are.
    """
    numbered = zeros(mask.shape, ROOM, np.int32)
    count = ndimage.label(mask, np.ones((3,) * mask.ndim, bool), output=numbered)
    return numbered, int(count)


def _filtered(mask: Mask, wanted: Callable[[NDArray[np.int64]], NDArray[np.bool_]]) -> Mask:
    """A mask with some of its components; ``wanted`` says which, from the voxels of each."""
    filtered = mask.copy()
    box = bounding_box(mask)
    if box is None:
        return filtered
    numbered, count = components(mask[box])
    sizes = np.zeros(count + 1, np.int64)
    for rows in row_chunks(numbered):
        sizes += np.bincount(numbered[rows].ravel(), minlength=count + 1)
    keep = np.concatenate([[False], wanted(sizes[1:])])
    if keep[1:].all():
        return filtered
    inside = filtered[box]
    for rows in row_chunks(numbered):
        inside[rows] = keep[numbered[rows]]
    return filtered


def largest_component(mask: Mask) -> Mask:
    """Keep the component with the most voxels (the first of equals); an empty mask stays empty."""
    return _filtered(mask, lambda sizes: np.arange(len(sizes)) == np.argmax(sizes))


def drop_specks(mask: Mask, smallest: int) -> Mask:
    """Drop components with fewer than ``smallest`` voxels."""
    return _filtered(mask, lambda sizes: sizes >= smallest) if smallest > 1 else mask.copy()


def fill_holes(mask: Mask) -> Mask:
    """Fill background that the mask encloses (in a picture, ``Z == 1``, within the plane)."""
    box = bounding_box(mask)
    if box is None:
        return mask.copy()
    # A hole is background, connected by faces, that meets no side of the box (in a picture, none of its four).
    flat = mask.ndim == 3 and mask.shape[2] == 1
    numbered = zeros(mask[box].shape, ROOM, np.int32)
    count = ndimage.label(~mask[box], output=numbered)
    hole = np.ones(count + 1, bool)
    hole[0] = False
    for axis in range(2 if flat else mask.ndim):
        for end in (0, -1):
            hole[numbered.take(end, axis)] = False
    filled = mask.copy()
    inside = filled[box]
    for rows in row_chunks(numbered):
        inside[rows] |= hole[numbered[rows]]
    return filled


@dataclass(frozen=True)
class Lesions:
    """Lesion-wise detection in one scan.

    Attributes:
        found: Lesions of the reference of which at least the required share is predicted.
        missed: The other lesions of the reference.
        spurious: Predicted lesions of which less than the required share lies in the reference.
        overlap: The required share of voxels.
    """

    found: int
    missed: int
    spurious: int
    overlap: float

    @property
    def f1(self) -> float:
        """``2 found / (2 found + missed + spurious)``; undefined (NaN) where there is no lesion in either mask."""
        total = 2 * self.found + self.missed + self.spurious
        return 2 * self.found / total if total else float("nan")


def match_lesions(prediction: Mask, reference: Mask, overlap: float = LESION_OVERLAP) -> Lesions:
    """Count lesions found, missed and made up; a lesion is a component.

    A lesion of the reference may be covered by several predicted ones, and one predicted lesion may cover several: both
    count as found, because splitting and merging is judged by Dice and surface distance.

    Args:
        prediction: ``(X, Y[, Z])``.
        reference: Same shape.
        overlap: Share of a lesion's voxels that must lie in the other mask; 0 asks for one voxel.
    """
    found, missed = _covered(components(reference)[0], prediction, overlap)
    _, spurious = _covered(components(prediction)[0], reference, overlap)
    return Lesions(found, missed, spurious, overlap)


def _covered(numbered: NDArray[np.int32], other: Mask, overlap: float) -> tuple[int, int]:
    sizes = np.bincount(numbered.ravel())[1:]
    shared = np.bincount(numbered[other], minlength=len(sizes) + 1)[1:]
    met = (shared >= np.maximum(overlap * sizes, 1)).sum()
    return int(met), int(len(sizes) - met)


@dataclass(frozen=True)
class LossCauses:
    """The voxels that cost Dice, each counted for one cause.

    ``1 - Dice = (false positives + false negatives) / (predicted + reference voxels)``, and every false voxel has one
    cause, so the four shares add up to the lost Dice exactly:

    - ``swap``: the other mask has another organ there, and the voxel lies deeper than the border band or in a
      component that no voxel of the other mask meets (left and right exchanged, one vertebra taken for the next);
    - ``missed``: a component of the reference of which no voxel was predicted;
    - ``spurious``: a predicted component that meets no voxel of the reference;
    - ``border``: all else, the surface of a component that was found.

    Attributes:
        total: Predicted plus reference voxels.
    """

    border: int
    missed: int
    spurious: int
    swap: int
    total: int

    def lost(self, cause: str) -> float:
        """Dice lost to one cause; NaN where both masks are empty."""
        return float(getattr(self, cause) / self.total) if self.total else float("nan")


def loss_causes(
    prediction: Mask, reference: Mask, swapped: Mask | None, spacing: Sequence[float], band: float
) -> LossCauses:
    """Say for each false voxel why it is false.

    Args:
        prediction: ``(X, Y[, Z])``.
        reference: Same shape.
        swapped: Voxels where prediction and reference name different organs; ``None`` where there is one organ.
        spacing: mm (or pixels) along each axis.
        band: Width of the border band around the reference's boundary voxels, mm. Neighbouring organs share a border,
            and a border drawn a little aside is not a swap.
    """
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(reference))
    false = prediction ^ reference
    orphans = _orphans(reference, prediction), _orphans(prediction, reference)
    swap = np.zeros_like(false)
    if swapped is not None:
        swap = false & swapped
        shallow = swap & ~orphans[0] & ~orphans[1]
        if shallow.any():
            near = nearest_distances(shallow, boundary(reference), spacing) <= band * (1 + 1e-6)
            swap[tuple(axis[near] for axis in np.nonzero(shallow))] = False
    missed = int(np.count_nonzero(orphans[0] & ~swap))
    spurious = int(np.count_nonzero(orphans[1] & ~swap))
    swaps = int(np.count_nonzero(swap))
    return LossCauses(int(np.count_nonzero(false)) - missed - spurious - swaps, missed, spurious, swaps, total)


def _orphans(mask: Mask, other: Mask) -> Mask:
    """Components of ``mask`` that no voxel of ``other`` meets."""
    if not (mask & ~other).any():
        return np.zeros_like(mask)
    numbered, count = components(mask)
    alone = np.ones(count + 1, bool)
    alone[0] = False
    alone[numbered[mask & other]] = False
    return alone[numbered] if alone.any() else np.zeros_like(mask)
