"""Networks of segmentation_models_pytorch by architecture and encoder, where that package is installed.

It is no dependency: it needs torchvision, whose wheel does not import beside the CPU build of torch.
"""

from __future__ import annotations

import importlib
from typing import Any

from pipeline.core.errors import InputError
from pipeline.networks.blocks import PaddedNetwork


def build(
    *, spatial_dims: int, in_channels: int, out_channels: int, member: str, weights: str, **options: Any
) -> PaddedNetwork:
    """Build ``smp:<architecture>/<encoder>``; ``weights`` are those of the encoder, such as ``imagenet`` or ``none``.

    Raises:
        InputError: The package does not import here, or knows no such network.
    """
    architecture, slash, encoder = member.partition("/")
    if not (architecture and slash and encoder):
        raise InputError(
            f"smp:{member} does not name an encoder", where="network name", remedy="Write smp:unetplusplus/resnet34."
        )
    try:
        smp = importlib.import_module("segmentation_models_pytorch")
    except (ImportError, RuntimeError) as error:
        raise InputError(
            f"segmentation_models_pytorch does not import here ({error})",
            where=f"network smp:{member}",
            remedy="Install it with a torchvision that fits this torch (there is none for the CPU build), "
            "or take monai:FlexibleUNet, which has ResNet and EfficientNet encoders without it.",
        ) from error
    try:
        network = smp.create_model(
            architecture,
            encoder,
            encoder_weights=None if weights == "none" else weights,
            in_channels=in_channels,
            classes=out_channels,
            **options,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"segmentation_models_pytorch refuses smp:{member} ({error})", where="network") from error
    return PaddedNetwork(network, spatial_dims, 32)
