"""TernausNet (Iglovikov and Shvets, 2018): a U-Net whose encoder is VGG, from ImageNet if wanted."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from pipeline.core.errors import InputError
from pipeline.networks.blocks import crop_to, initialise, pad_to_multiple
from pipeline.networks.encoder_weights import ImageNet, Taken, load_encoder
from pipeline.networks.unet_classic import upsampler

#: Convolutions of each block, a pooling after each block: configurations A and D of Simonyan and Zisserman, 2015.
VGG = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    16: ((64, 64), (128, 128), *[(n,) * 3 for n in (256, 512, 512)]),
}
#: (depth, batch norm) → torchvision's file, whose name ends in the first eight digits of its sha256.
IMAGENET = {
    key: ImageNet(file, file.rpartition("-")[2].removesuffix(".pth"), f"https://download.pytorch.org/models/{file}")
    for key, file in {
        (11, False): "vgg11-8a719046.pth",
        (11, True): "vgg11_bn-6002323d.pth",
        (16, False): "vgg16-397923af.pth",
        (16, True): "vgg16_bn-6c64b313.pth",
    }.items()
}


class TernausNet(nn.Module):
    """VGG features with five poolings, a centre, and five decoder blocks with skips.

    Args:
        depth: 11 or 16.
        spatial_dims: 2; the registry lets no other through.
        in_channels: Channels of the image.
        out_channels: Logits per pixel.
        weights: Of the encoder: ``imagenet``, ``none`` or a file.
        batch_norm: Take the VGG with batch norm.
        upsampling: ``deconv``, ``nearest`` or ``bilinear``.
        features: Width of the decoder; the published network has 32.

    Attributes:
        taken: What came from the file of weights, tensor by tensor.

    Raises:
        InputError: An option is out of its range, or the weights cannot be had.
    """

    min_multiple = (32, 32)

    def __init__(
        self,
        depth: int,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        weights: str,
        batch_norm: bool,
        upsampling: str,
        features: int,
    ) -> None:
        super().__init__()
        if not isinstance(features, int) or features < 1:
            raise InputError(f"TernausNet has a positive width, not {features!r}", where="network")
        n = features
        # One flat list, so that its keys are those of torchvision's files.
        layers: list[nn.Module] = []
        inputs = in_channels
        for block in VGG[depth]:
            for count in block:
                layers.append(nn.Conv2d(inputs, count, 3, padding=1))
                layers += [nn.BatchNorm2d(count)] if batch_norm else []
                layers.append(nn.ReLU(inplace=True))
                inputs = count
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

        def decode(inputs: int, middle: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(*_conv_relu(inputs, middle), upsampler(2, middle, outputs, upsampling), nn.ReLU(True))

        self.center = decode(512, 16 * n, 8 * n)
        widths = ((512, 16, 8), (512, 16, 4), (256, 8, 2), (128, 4, 1))
        below = (8 * n, 8 * n, 4 * n, 2 * n)
        self.decoder = nn.ModuleList(
            decode(skip + i, middle * n, o * n) for i, (skip, middle, o) in zip(below, widths, strict=True)
        )
        self.last = nn.Sequential(*_conv_relu(64 + n, n))
        self.head = nn.Conv2d(n, out_channels, 1)
        initialise(self)
        self.taken: list[Taken] = []
        if weights != "none":
            what = f"VGG-{depth} {'with' if batch_norm else 'without'} batch norm"
            known = IMAGENET[depth, batch_norm]
            self.taken = load_encoder(self.features, known.path(weights), what, known.remedy)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` → logits ``(B, K, H, W)``."""
        spatial = x.shape[2:]
        x = pad_to_multiple(x, self.min_multiple)
        skips = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                skips.append(x)
            x = layer(x)
        x = self.center(x)
        for block in self.decoder:
            x = block(torch.cat((x, skips.pop()), 1))
        return crop_to(self.head(self.last(torch.cat((x, skips.pop()), 1))), spatial)


def _conv_relu(inputs: int, outputs: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)


build_11 = partial(TernausNet, 11)
build_16 = partial(TernausNet, 16)
