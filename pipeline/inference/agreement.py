"""How far several answers to one scan agree: mirrored passes of one network, models, and the folds of a model.

All are Dice between masks, because that is what a person corrects: probabilities that differ where no outline lies, as
two passes always do, cost nothing. Passes are compared window by window as they are computed, so that a few sums are
all that is kept of them, however large the scan.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import row_chunks
from pipeline.core.labels import LabelMap
from pipeline.core.plan import Plan
from pipeline.core.scan import Array

AGREEMENT = "agreement.csv"  # beside out-of-fold predictions: scan_id, organ, between, dice
#: Who agrees → organ → Dice: ``passes``, ``models``, ``folds``; each absent where there is but one.
Agreement = Mapping[str, Mapping[str, float]]
#: How a person is told between whom.
BETWEEN = {"passes": "mirrored passes", "models": "models", "folds": "folds"}


class Passes:
    """Compares the mirrored passes over one image with the unmirrored one.

    Each window counts with the weights that it is averaged by, so that its border, where networks see too little to
    agree on anything, counts as little as in the result. Where windows overlap a voxel counts once in each.

    Args:
        plan: Organs of the network.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        #: Pass → organ → weight of the unmirrored mask, of the mirrored one, and of both.
        self._sums: dict[int, NDArray[np.float64]] = {}

    def decided(self, probabilities: Array) -> Array:
        """Masks of a batch of windows ``(B, K, *patch)``, by the ordinary rule: the largest, or at least a half.

        Returns:
            ``(B, voxels)`` integers, 0 the background; of overlapping organs ``(B, organs, voxels)`` float32, 0 or 1.
        """
        flat = probabilities.reshape(*probabilities.shape[:2], -1)
        if self.plan.overlapping:
            return (flat >= 0.5).astype(np.float32)
        # Channel by channel: several times as fast as ``argmax`` along an axis that is not the last.
        best, chosen = flat[:, 0], np.zeros(flat[:, 0].shape, LabelMap.dtype_for(len(self.plan.organs), False))
        for index in range(1, flat.shape[1]):
            np.copyto(chosen, index, where=flat[:, index] > best)
            best = np.maximum(best, flat[:, index])
        return chosen

    def add(self, number: int, plain: Array, turned: Array, weights: Array) -> None:
        """Take in what one mirrored pass says of windows, beside the unmirrored one; both as :meth:`decided`.

        Args:
            number: Which of the mirrored passes.
            plain: The unmirrored pass.
            turned: The mirrored pass, turned back, left and right organs too.
            weights: Weight of each voxel of a window, float32 of the shape of the patch; 0 outside the image.
        """
        organs = len(self.plan.organs)
        if self.plan.overlapping:
            new = np.stack([(mask @ weights.reshape(-1)).sum(0) for mask in (plain, turned, plain * turned)], 1)
        else:
            # Decision of one pass × decision of the other → weight of such voxels.
            side = organs + 1
            some = np.flatnonzero(plain | turned)
            pairs = plain.reshape(-1)[some].astype(np.intp) * side + turned.reshape(-1)[some]
            heavy = weights.reshape(-1)[some % weights.size]
            table = np.bincount(pairs, heavy, side * side).reshape(side, side)
            new = np.stack([table.sum(1), table.sum(0), table.diagonal()], 1)[1:]
        self._sums[number] = self._sums.get(number, 0.0) + new.astype(np.float64)

    def dice(self) -> dict[str, float]:
        """Organ → least Dice between the unmirrored pass and any mirrored one; 1 where both found nothing.

        Empty where no pass was mirrored.
        """
        if not self._sums:
            return {}
        each = []
        for sums in self._sums.values():
            size = sums[:, 0] + sums[:, 1]
            each.append(np.where(size > 0, 2 * sums[:, 2] / np.where(size > 0, size, 1), 1.0))
        return dict(zip(self.plan.organs, np.min(each, axis=0).tolist(), strict=True))


def least_dice(masks: Sequence[LabelMap]) -> dict[str, float]:
    """Organ → least Dice of any two label maps of one grid; 1 where neither of two holds anything."""
    organs = masks[0].organs
    pairs = list(itertools.combinations(range(len(masks)), 2))
    # Voxels of one mask, of the other and of both; the masks are looked at rows at a time.
    counts = np.zeros((len(pairs), len(organs), 3))
    for rows in row_chunks(masks[0].data):
        parts = [LabelMap(m.data[rows], m.affine, organs, m.overlapping, m.annotated) for m in masks]
        for index, organ in enumerate(organs):
            own = [part.mask(organ) for part in parts]
            sizes = [np.count_nonzero(mask) for mask in own]
            for number, (one, other) in enumerate(pairs):
                both = np.count_nonzero(own[one] & own[other])
                counts[number, index] += sizes[one], sizes[other], both
    size = counts[..., 0] + counts[..., 1]
    dice = np.where(size > 0, 2 * counts[..., 2] / np.where(size > 0, size, 1), 1.0)
    return dict(zip(organs, dice.min(axis=0, initial=1.0).tolist(), strict=True))


def mean_dice(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Organ → mean; empty where there is nothing."""
    return {organ: float(np.mean([one[organ] for one in each])) for organ in each[0]} if each else {}


def between_members(votes: Sequence[tuple[str, LabelMap]]) -> dict[str, dict[str, float]]:
    """Agreement of the networks that predict together.

    Two figures, because only one of them can be known of a scan that was predicted out of fold, where a network of each
    model predicts it. ``models`` is made as it is there: the least Dice of any two models' networks of one fold, and of
    these the mean over the folds, so that more folds make it steadier and not lower. ``folds`` is the least Dice of any
    two networks of one model; out of fold nobody knows it, as all folds but one were trained on the scan.

    Args:
        votes: Model of each network, and its masks; the networks of a model stand in the order of their folds.
    """
    models: dict[str, list[LabelMap]] = {}
    for model, labels in votes:
        models.setdefault(model, []).append(labels)
    found: dict[str, dict[str, float]] = {}
    beside = [list(together) for together in zip(*models.values(), strict=False)]
    if len(models) > 1:
        found["models"] = mean_dice([least_dice(together) for together in beside])
    each = [least_dice(own) for own in models.values() if len(own) > 1]
    if each:
        found["folds"] = {organ: min(one[organ] for one in each) for organ in each[0]}
    return found
