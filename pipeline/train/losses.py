"""Losses of segmentation: exclusive or overlapping organs, unannotated organs, ignored voxels, deep supervision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn
from torch.nn import functional

from pipeline.core.errors import InputError
from pipeline.core.study import explain

IGNORE_VALUE = 255


class LossOptions(BaseModel):
    """What a loss is made of.

    Attributes:
        region: ``dice``, ``log_jaccard``, ``tversky``, ``generalised_dice`` or ``none``.
        pixel: ``ce`` (cross-entropy; binary where organs overlap), ``focal`` or ``none``.
        region_weight: Weight of the region term.
        pixel_weight: Weight of the pixel term.
        batch: Take the region term over the whole batch (of all processes) rather than scan by scan. It is steadier for
            organs that are absent from many patches. Only the other way does a loss add up exactly over micro-batches.
        background: Count the background as one more organ in the region term (exclusive organs only).
        smooth: Added to numerator and denominator of the region term.
        gamma: Exponent of the focal loss.
        alpha: Tversky's weight of false positives.
        beta: Tversky's weight of false negatives.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    region: Literal["dice", "log_jaccard", "tversky", "generalised_dice", "none"] = "dice"
    pixel: Literal["ce", "focal", "none"] = "ce"
    region_weight: float = 1.0
    pixel_weight: float = 1.0
    batch: bool = False
    background: bool = False
    smooth: float = 1e-5
    gamma: float = 2.0
    alpha: float = 0.3
    beta: float = 0.7


#: Dice + cross-entropy: Isensee et al., 2021. BCE − log Jaccard: Iglovikov and Shvets, 2018. Focal: Lin et al., 2017.
#: Tversky: Salehi et al., 2017. Generalised Dice: Sudre et al., 2017.
LOSSES: Mapping[str, LossOptions] = {
    "dice_ce": LossOptions(),
    "bce_jaccard": LossOptions(region="log_jaccard", batch=True),
    "focal": LossOptions(region="none", pixel="focal"),
    "tversky": LossOptions(region="tversky", pixel="none"),
    "generalised_dice": LossOptions(region="generalised_dice", pixel="none"),
}


def make_loss(spec: Mapping[str, Any] | str, overlapping: bool) -> SegmentationLoss:
    """Build a loss from its name, or from ``{"name": ..., option: value}`` with the options of :class:`LossOptions`.

    Raises:
        InputError: There is no such loss or option.
    """
    options = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = options.pop("name", "dice_ce")
    if name not in LOSSES:
        raise InputError(f"there is no loss {name!r}", where="loss", remedy=f"Losses: {', '.join(LOSSES)}.")
    try:
        chosen = LossOptions.model_validate({**LOSSES[name].model_dump(), **options})
    except ValidationError as error:
        raise InputError(explain(error, LossOptions), where="loss") from None
    return SegmentationLoss(chosen, overlapping)


class SegmentationLoss(nn.Module):
    """A region term and a pixel term over logits of one or several resolutions.

    Args:
        options: What the loss is made of.
        overlapping: Sigmoid and a channel an organ, rather than softmax over background and organs.
    """

    def __init__(self, options: LossOptions, overlapping: bool) -> None:
        super().__init__()
        self.options = options
        self.overlapping = overlapping

    def forward(self, logits: Tensor | Sequence[Tensor], target: Tensor, annotated: Tensor | None = None) -> Tensor:
        """Mean loss of the batch.

        Args:
            logits: ``(B, K, *spatial)`` where organs overlap, ``(B, 1 + K, *spatial)`` with the background first where
                they are exclusive; or a list of such, full resolution first, whose terms weigh 1, 1/2, 1/4 …
                (normalised to 1) against the target taken at every second, fourth … voxel.
            target: Overlapping: ``(B, K, *spatial)``, 0 or 1. Exclusive: ``(B, *spatial)``, 0 is background, *i* is
                organ *i*. 255 marks voxels to ignore in both.
            annotated: ``(B, K)`` boolean, organs that somebody looked for; all by default. Others do not count where
                organs overlap. Where they are exclusive, they count as background that may be either: their
                probability is added to the background's (marginal loss: Fang and Yan, 2020).

        Returns:
            A scalar, float32.
        """
        outputs = [logits] if isinstance(logits, Tensor) else list(logits)
        known = None if annotated is None or _all_true(annotated) else annotated.to(target.device, non_blocking=True)
        total = torch.zeros((), device=target.device)
        share = 1 / sum(0.5**level for level in range(len(outputs)))
        for level, output in enumerate(outputs):
            at = target if level == 0 else _nearest(target, output.shape[2:])
            total = total + share * 0.5**level * self._one(output.float(), at, known)
        return total

    def _one(self, logits: Tensor, target: Tensor, annotated: Tensor | None) -> Tensor:
        with torch.no_grad():
            truth, valid = self._truth(target, logits.shape[1], annotated)
        if self.overlapping:
            probability = logits.sigmoid()
            pixel = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        else:
            if annotated is not None:
                logits = _merge_unannotated(logits, annotated)
            log_p = logits.log_softmax(1)
            probability = log_p.exp()
            # A product with the one-hot truth has a deterministic gradient on a GPU, unlike nll_loss. Merged channels
            # hold -inf, and 0 · -inf is not 0.
            pixel = -(log_p if annotated is None else log_p.clamp_min(-1e4)).mul(truth).sum(1, keepdim=True)
        options = self.options
        total = logits.new_zeros(())
        if options.pixel != "none":
            total = total + options.pixel_weight * self._pixel(pixel, valid if self.overlapping else valid[:, :1])
        if options.region != "none":
            total = total + options.region_weight * self._region(probability, truth, valid, annotated)
        return total

    def _truth(self, target: Tensor, channels: int, annotated: Tensor | None) -> tuple[Tensor, Tensor]:
        """One-hot target and the voxels that count, both ``(B, channels, *spatial)`` float (or broadcastable)."""
        if self.overlapping:
            valid = target != IGNORE_VALUE
            if annotated is not None:
                valid = valid & annotated.view(*annotated.shape, *[1] * (target.ndim - 2))
            return (target == 1).float(), valid.float()
        classes = torch.arange(channels, device=target.device, dtype=target.dtype)
        truth = target.unsqueeze(1) == classes.view(1, -1, *[1] * (target.ndim - 1))
        valid = (target != IGNORE_VALUE).unsqueeze(1)
        if annotated is not None:
            unknown = ~annotated.view(*annotated.shape, *[1] * (target.ndim - 1))
            stray = (truth[:, 1:] & unknown).any(1)
            truth[:, 1:] &= ~unknown
            truth[:, 0] |= stray
        return truth.float(), valid.float()

    def _pixel(self, loss: Tensor, valid: Tensor) -> Tensor:
        if self.options.pixel == "focal":
            loss = loss * (1 - (-loss).exp()) ** self.options.gamma
        dims = tuple(range(1, loss.ndim))
        count, summed = valid.expand_as(loss).sum(dims), (loss * valid).sum(dims)
        if self.options.batch:
            return _over_all(summed.sum()) / _over_all(count.sum()).clamp_min(1)
        return (summed / count.clamp_min(1)).mean()

    def _region(self, probability: Tensor, truth: Tensor, valid: Tensor, annotated: Tensor | None) -> Tensor:
        if not self.overlapping and not self.options.background:
            probability, truth = probability[:, 1:], truth[:, 1:]
        dims = tuple(range(2, probability.ndim))
        inside = probability * valid
        both = (inside * truth).sum(dims)
        predicted = inside.sum(dims)
        actual = (truth * valid).sum(dims)
        known = torch.ones_like(both) if annotated is None else annotated.to(both.dtype)
        if known.shape[1] < both.shape[1]:
            known = functional.pad(known, (1, 0), value=1.0)
        if self.options.batch:
            both, predicted, actual, known = (
                _over_all((part * known).sum(0, keepdim=True)) for part in (both, predicted, actual, known)
            )
            known = (known > 0).to(both.dtype)
        each = _REGIONS[self.options.region](both, predicted, actual, known, self.options)
        return ((each * known).sum(1) / known.sum(1).clamp_min(1)).mean()


def _dice(both: Tensor, predicted: Tensor, actual: Tensor, _: Tensor, options: LossOptions) -> Tensor:
    return 1 - (2 * both + options.smooth) / (predicted + actual + options.smooth)


def _log_jaccard(both: Tensor, predicted: Tensor, actual: Tensor, _: Tensor, options: LossOptions) -> Tensor:
    return -((both + options.smooth) / (predicted + actual - both + options.smooth)).log()


def _tversky(both: Tensor, predicted: Tensor, actual: Tensor, _: Tensor, options: LossOptions) -> Tensor:
    wrong = options.alpha * (predicted - both) + options.beta * (actual - both)
    return 1 - (both + options.smooth) / (both + wrong + options.smooth)


def _generalised_dice(both: Tensor, predicted: Tensor, actual: Tensor, known: Tensor, options: LossOptions) -> Tensor:
    # An absent organ has no size of its own: it weighs as much as the smallest one present, as in MONAI.
    present = (actual > 0) & (known > 0)
    weight = torch.where(present, actual.clamp_min(1), torch.ones_like(actual)) ** -2
    most = torch.where(present, weight, torch.zeros_like(weight)).amax(1, keepdim=True)
    weight = torch.where(present, weight, most) * known
    top = (weight * both).sum(1, keepdim=True)
    bottom = (weight * (predicted + actual)).sum(1, keepdim=True)
    return (1 - (2 * top + options.smooth) / (bottom + options.smooth)).expand_as(both)


_REGIONS = {
    "dice": _dice,
    "log_jaccard": _log_jaccard,
    "tversky": _tversky,
    "generalised_dice": _generalised_dice,
}


def _merge_unannotated(logits: Tensor, annotated: Tensor) -> Tensor:
    """Logits whose softmax adds unannotated organs to the background and gives them nothing."""
    unknown = ~annotated.view(*annotated.shape, *[1] * (logits.ndim - 2))
    organs = logits[:, 1:]
    hidden = torch.where(unknown, organs, torch.full_like(organs, -torch.inf))
    background = torch.cat((logits[:, :1], hidden), 1).logsumexp(1, keepdim=True)
    return torch.cat((background, torch.where(unknown, torch.full_like(organs, -torch.inf), organs)), 1)


def _nearest(target: Tensor, spatial: Sequence[int]) -> Tensor:
    """The target at every s-th voxel from the first, s the stride that the size of an auxiliary output implies."""
    for axis, size in enumerate(spatial, start=target.ndim - len(spatial)):
        full = target.shape[axis]
        step = 1 << (-(-full // size) - 1).bit_length()
        if -(-full // step) != size:
            # Not a power of two: strides of 3, or an output of an odd size.
            step = -(-full // size)
        index = (torch.arange(size, device=target.device) * step).clamp_max(full - 1)
        if step > 1 or size != full:
            target = target.index_select(axis, index)
    return target


def _all_true(flags: Tensor) -> bool:
    # A GPU would have to finish its work to answer; multiplying by ones costs less.
    return flags.device.type == "cpu" and bool(flags.all())


def _over_all(value: Tensor) -> Tensor:
    """Sum over the processes of a distributed run, with its gradient."""
    if (
        torch.distributed.is_available()
        and torch.distributed.is_initialized()
        and torch.distributed.get_world_size() > 1
    ):
        from torch.distributed.nn.functional import all_reduce

        return all_reduce(value)  # type: ignore[no-any-return, no-untyped-call]
    return value


def unpack_bits(bits: Tensor, count: int, ignore_bit: int) -> Tensor:
    """Channels of overlapping organs from a bit mask.

    Args:
        bits: ``(B, *spatial)`` integers, bit *i* is organ *i*.
        count: Number of organs.
        ignore_bit: The bit that marks voxels to ignore.

    Returns:
        ``(B, count, *spatial)`` uint8: 0, 1, or 255 to ignore.
    """
    wide = bits.to(torch.int64).unsqueeze(1)
    shifts = torch.arange(count, device=bits.device).view(1, -1, *[1] * (bits.ndim - 1))
    channels = ((wide >> shifts) & 1).to(torch.uint8)
    return torch.where((wide >> ignore_bit) & 1 == 1, torch.full_like(channels, IGNORE_VALUE), channels)
