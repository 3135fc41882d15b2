"""Parts that the networks share: convolutions by dimension, normalisation with activation, padding, initialisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.core.errors import InputError
from pipeline.networks.norm import instance_norm_act

CONV: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
DECONV: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
DROPOUT = {2: nn.Dropout2d, 3: nn.Dropout3d}
LINEAR_MODE = {2: "bilinear", 3: "trilinear"}
NORMS = ("instance", "batch", "group", "none")
Ints = tuple[int, ...]


def per_axis(value: int | Sequence[int], dims: int, what: str) -> Ints:
    """One integer an axis, from one for all axes or from a sequence of ``dims``.

    Raises:
        InputError: The sequence has another length, or a value is below 1.
    """
    result = (int(value),) * dims if isinstance(value, int) else tuple(int(v) for v in value)
    if len(result) != dims or min(result) < 1:
        raise InputError(f"{what} {value!r} does not fit a {dims}-D network", where="network")
    return result


def pad_to_multiple(x: Tensor, multiple: Sequence[int]) -> Tensor:
    """Repeat the last voxels of ``(B, C, *spatial)`` until each side is a multiple, and at least twice it.

    Twice, because a normalisation needs more than one voxel at the lowest resolution.
    """
    pads: list[int] = []
    for size, step in zip(reversed(x.shape[2:]), reversed(list(multiple)), strict=True):
        target = max(-(-size // step), 2 if step > 1 else 1) * step
        pads += [0, target - size]
    return functional.pad(x, pads, mode="replicate") if any(pads) else x


def crop_to(x: Tensor, spatial: Sequence[int]) -> Tensor:
    """The first ``spatial`` voxels along each axis of ``(B, C, *spatial')`` (a view)."""
    for axis, size in enumerate(spatial, start=2):
        if x.shape[axis] != size:
            x = x.narrow(axis, 0, size)
    return x


class PaddedNetwork(nn.Module):
    """A library's network with padding to what it needs, and its outputs as logits or a list of logits.

    Args:
        network: Takes ``(B, C, *spatial)``.
        dims: 2 or 3.
        multiple: Sides that the network can take.

    Attributes:
        min_multiple: ``multiple``, one an axis.
        taken: What came from a file of weights, tensor by tensor.
    """

    def __init__(self, network: nn.Module, dims: int, multiple: int) -> None:
        super().__init__()
        self.network = network
        self.min_multiple = (multiple,) * dims
        self.taken: list[Any] = []

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """``(B, C, *spatial)`` → logits ``(B, K, *spatial)``; a list, full size first, if there are several."""
        spatial = x.shape[2:]
        y = self.network(pad_to_multiple(x, self.min_multiple))
        if isinstance(y, Tensor) and y.ndim == x.ndim + 1:
            # MONAI's DynUNet stacks its auxiliary outputs at full size.
            y = list(y.unbind(1))
        if isinstance(y, list | tuple):
            outputs = [crop_to(one, spatial) for one in y if isinstance(one, Tensor) and one.ndim == x.ndim]
            return outputs if self.training and len(outputs) > 1 else outputs[0]
        return crop_to(y, spatial)


class NormAct(nn.Module):
    """Normalisation followed by a leaky ReLU.

    Args:
        channels: Channels of the input.
        dims: 2 or 3.
        norm: ``instance``, ``batch``, ``group`` (groups of at most 8 channels) or ``none``.
        slope: Slope of the leaky ReLU below zero; 0 is ReLU and 1 is no activation.
    """

    def __init__(self, channels: int, dims: int, norm: str, slope: float = 0.01) -> None:
        super().__init__()
        if norm not in NORMS:
            raise InputError(f"there is no norm {norm!r}", where="network", remedy=f"Norms: {', '.join(NORMS)}.")
        self.norm, self.slope, self.groups = norm, slope, math.gcd(channels, 8)
        self.batch_norm = BATCH_NORM[dims](channels) if norm == "batch" else None
        if norm in ("instance", "group"):
            self.weight = nn.Parameter(torch.ones(channels))
            self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, *spatial)`` → the same shape."""
        if self.norm == "instance":
            return instance_norm_act(x, self.weight, self.bias, self.slope)
        if self.norm == "group":
            x = functional.group_norm(x, self.groups, self.weight, self.bias)
        elif self.batch_norm is not None:
            x = self.batch_norm(x)
        return x if self.slope == 1 else functional.leaky_relu(x, self.slope)


class MaxPool(nn.Module):
    """Max pooling by 2 along each axis, also where torch has no deterministic gradient of its own (3-D on a GPU)."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, *spatial)`` with even sides → half the sides."""
        if x.ndim == 4:
            return functional.max_pool2d(x, 2)
        if not torch.are_deterministic_algorithms_enabled():
            return functional.max_pool3d(x, 2)
        for axis in (2, 3, 4):
            x = x.unflatten(axis, (-1, 2)).amax(axis + 1)
        return x


def initialise(module: nn.Module, slope: float = 0.0) -> None:
    """He initialisation for a leaky ReLU of this slope; layers without an activation keep the variance.

    Convolutions: He et al., "Delving deep into rectifiers", 2015. A transposed convolution and a 1×1 head are linear:
    variance 1 / inputs. Biases start at zero; weights never do.
    """
    for layer in module.modules():
        if isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d):
            overlap = math.prod(k / s for k, s in zip(layer.kernel_size, layer.stride, strict=True))
            nn.init.normal_(layer.weight, std=(layer.in_channels * overlap) ** -0.5)
        elif isinstance(layer, nn.Conv2d | nn.Conv3d):
            if max(layer.kernel_size) == 1:
                nn.init.normal_(layer.weight, std=layer.in_channels**-0.5)
            else:
                nn.init.kaiming_normal_(layer.weight, a=slope)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def require_positive(values: Sequence[int], what: str) -> Ints:
    """Integers of at least 1, two of them or more.

    Raises:
        InputError: They are fewer, or not positive integers.
    """
    if isinstance(values, int | str) or len(values) < 2 or any(not isinstance(v, int) or v < 1 for v in values):
        raise InputError(f"{what} must be at least two positive integers, not {values!r}", where="network")
    return tuple(values)
