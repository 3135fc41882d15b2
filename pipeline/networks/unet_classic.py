"""The textbook U-Net (Ronneberger et al., 2015): double 3×3 convolutions, max pooling, skip concatenation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pipeline.core.errors import InputError
from pipeline.networks.blocks import (
    BATCH_NORM,
    CONV,
    DECONV,
    DROPOUT,
    LINEAR_MODE,
    MaxPool,
    crop_to,
    initialise,
    pad_to_multiple,
    require_positive,
)

UPSAMPLINGS = ("deconv", "nearest", "bilinear")


def double_conv(dims: int, inputs: int, outputs: int, batch_norm: bool) -> nn.Sequential:
    """Twice (3×3 convolution, batch norm if wanted, ReLU), with "same" padding."""
    layers: list[nn.Module] = []
    for count in (inputs, outputs):
        layers.append(CONV[dims](count, outputs, 3, padding=1, bias=not batch_norm))
        if batch_norm:
            layers.append(BATCH_NORM[dims](outputs))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def upsampler(dims: int, inputs: int, outputs: int, how: str) -> nn.Module:
    """Double the sides: transposed convolution, or interpolation and a 3×3 convolution.

    Raises:
        InputError: ``how`` is none of ``deconv``, ``nearest`` and ``bilinear``.
    """
    if how not in UPSAMPLINGS:
        raise InputError(
            f"there is no upsampling {how!r}", where="network", remedy=f"Upsamplings: {', '.join(UPSAMPLINGS)}."
        )
    if how == "deconv":
        return DECONV[dims](inputs, outputs, 2, stride=2)
    mode = "nearest" if how == "nearest" else LINEAR_MODE[dims]
    return nn.Sequential(nn.Upsample(scale_factor=2, mode=mode), CONV[dims](inputs, outputs, 3, padding=1))


class ClassicUNet(nn.Module):
    """Textbook U-Net, ``unet_classic`` and ``unet_tutorial``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Logits per voxel.
        features: Features of each level, from the full resolution down; the last is the bottleneck.
        batch_norm: Batch norm after each convolution.
        dropout: Probability of dropping a channel of the bottleneck.
        upsampling: ``deconv``, ``nearest`` or ``bilinear``.

    Attributes:
        min_multiple: Sides that need no padding are multiples of this, one an axis.

    Raises:
        InputError: An option is out of its range.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        features: Sequence[int],
        batch_norm: bool,
        dropout: float,
        upsampling: str,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise InputError(f"dropout lies in 0 to 1, not {dropout!r}", where="network")
        dims, features = spatial_dims, require_positive(features, "features")
        self.min_multiple = (2 ** (len(features) - 1),) * dims
        self.down = nn.ModuleList(
            double_conv(dims, i, o, batch_norm) for i, o in zip((in_channels, *features), features, strict=False)
        )
        self.pool = MaxPool()
        self.dropout = DROPOUT[dims](dropout)
        pairs = list(pairwise(features))
        self.up = nn.ModuleList(upsampler(dims, below, here, upsampling) for here, below in pairs)
        self.merge = nn.ModuleList(double_conv(dims, 2 * here, here, batch_norm) for here, _ in pairs)
        self.head = CONV[dims](features[0], out_channels, 1)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, *spatial)`` → logits ``(B, K, *spatial)``."""
        spatial = x.shape[2:]
        x = pad_to_multiple(x, self.min_multiple)
        skips: list[Tensor] = []
        for level, stage in enumerate(self.down):
            x = stage(self.pool(x) if level else x)
            skips.append(x)
        x = self.dropout(skips.pop())
        for up, merge in zip(reversed(self.up), reversed(self.merge), strict=True):
            x = merge(torch.cat((up(x), skips.pop()), 1))
        return crop_to(self.head(x), spatial)
