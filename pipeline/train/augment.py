"""Augmentation as a plan wants it, drawn anew for every patch from the seed, the step and its place in the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.augmentation.transforms import Augmenter
from pipeline.core.plan import Plan
from pipeline.train.data import Batch
from pipeline.train.losses import IGNORE_VALUE, unpack_bits
from pipeline.train.seeds import AUGMENT_STREAM, seed_for


class Augmentation:
    """The augmenter of a plan.

    Args:
        plan: Preset and changes to it, axes, spacing, organs and their mirror pairs.

    Raises:
        InputError: The plan's augmentation is not one.
    """

    def __init__(self, plan: Plan) -> None:
        axes = [axis for axis in range(3) if axis != plan.slice_axis][: plan.spatial_dims]
        swaps = [(plan.organs.index(left), plan.organs.index(right)) for left, right in plan.mirror_pairs]
        self.seed = plan.seed
        self.augmenter = Augmenter(
            plan.augmentation,
            plan.spatial_dims,
            axes.index(0) if 0 in axes else None,
            swaps,
            plan.overlapping,
            None if plan.spacing is None else [plan.spacing[axis] for axis in axes],
        )

    def __call__(self, batch: Batch, step: int, members: Sequence[int] | None = None) -> Batch:
        """Augment a step's batch, or the part of it that has the places ``members``; the draws are the same."""
        places = range(len(batch.scans)) if members is None else members
        seeds = [seed_for(self.seed, AUGMENT_STREAM, step, place) for place in places]
        images, labels, mirrored = self.augmenter(batch.images, batch.labels, seeds)
        return Batch(images, labels, self._known(batch.annotated, mirrored), batch.scans)

    def _known(self, annotated: Tensor, mirrored: Tensor) -> Tensor:
        """Which organs somebody looked for: in a mirrored scan, those of the other side."""
        order = list(range(annotated.shape[1]))
        for left, right in self.augmenter.swaps:
            order[left], order[right] = right, left
        return torch.where(mirrored[:, None], annotated[:, order], annotated)


def targets_of(labels: Tensor, plan: Plan) -> Tensor:
    """Labels of a batch as the loss wants them.

    Args:
        labels: ``(B, *patch)`` integers in the reading of a label map.
        plan: Organs, and whether they overlap.

    Returns:
        Exclusive: ``(B, *patch)``; overlapping: ``(B, K, *patch)``. 255 marks voxels to ignore.
    """
    count = len(plan.organs)
    if plan.overlapping:
        bits = next(bits for bits in (8, 16, 32, 64) if count < bits)
        return unpack_bits(labels, count, bits - 1)
    if labels.dtype == torch.uint8:
        return labels
    return torch.where(labels > count, IGNORE_VALUE, labels)
