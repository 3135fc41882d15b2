"""Networks of MONAI by class name, brought to the contract of the registry."""

from __future__ import annotations

import difflib
import inspect
import math
from typing import Any

from torch import nn

from pipeline.core.errors import InputError
from pipeline.networks.blocks import PaddedNetwork

#: What a class needs and cannot guess: options that make it work for any image, where the study gives none.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "SegResNet": {"init_filters": 16},
    "SwinUNETR": {"feature_size": 12},
    "UNet": {"channels": (16, 32, 64, 128), "strides": (2, 2, 2), "num_res_units": 2},
    "AttentionUnet": {"channels": (16, 32, 64, 128), "strides": (2, 2, 2)},
    "BasicUNet": {"features": (16, 16, 32, 64, 128, 16)},
    "DynUNet": {
        "kernel_size": (3, 3, 3, 3),
        "strides": (1, 2, 2, 2),
        "upsample_kernel_size": (2, 2, 2),
        "filters": (16, 32, 64, 128),
    },
    "FlexibleUNet": {"backbone": "efficientnet-b0"},
}
#: Sides that a class can take without padding; others are given the multiple that suits five halvings.
_MULTIPLES = {"SegResNet": 8, "BasicUNet": 16, "UNet": 8, "AttentionUnet": 8, "DynUNet": 8}
_DEFAULT_MULTIPLE = 32


def build(*, spatial_dims: int, in_channels: int, out_channels: int, member: str, **options: Any) -> PaddedNetwork:
    """Build ``monai:<member>``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Logits per voxel.
        member: Class name in ``monai.networks.nets``.
        options: Arguments of the class, and ``multiple``: sides that it can take without padding.

    Raises:
        InputError: No such class, an option that it does not have, or one that it refuses.
    """
    from monai.networks import nets

    kind = getattr(nets, member, None)
    if not (inspect.isclass(kind) and issubclass(kind, nn.Module)):
        near = difflib.get_close_matches(member, [name for name in dir(nets) if name[0].isupper()], n=3)
        raise InputError(
            f"MONAI has no network {member!r}",
            where="network name",
            remedy=f"Did you mean {' or '.join(near)}?" if near else "See monai.networks.nets.",
        )
    multiple = options.pop("multiple", None) or _multiple_of(member, options)
    signature = inspect.signature(kind.__init__).parameters
    given = {**_DEFAULTS.get(member, {}), **options}
    given |= {"in_channels": in_channels, "out_channels": out_channels, "spatial_dims": spatial_dims}
    unknown = sorted(set(given) - set(signature))
    if unknown:
        raise InputError(
            f"MONAI's {member} has no option {', '.join(unknown)}",
            where="network",
            remedy=f"Its options: {', '.join(name for name in signature if name != 'self')}.",
        )
    try:
        return PaddedNetwork(kind(**given), spatial_dims, multiple)
    except ImportError as error:
        raise InputError(
            f"MONAI's {member} needs a package that is not installed ({str(error).splitlines()[0]})", where="network"
        ) from error
    except (TypeError, ValueError, AssertionError, KeyError) as error:
        raise InputError(f"MONAI's {member} refuses its options ({error})", where="network") from error


def _multiple_of(member: str, options: dict[str, Any]) -> int:
    """Side that the strides of this network divide, from the options where they say it."""
    strides = options.get("strides")
    if strides and member in ("UNet", "AttentionUnet", "DynUNet"):
        return math.prod(stride if isinstance(stride, int) else max(stride) for stride in strides)
    if member == "SegResNet" and "blocks_down" in options:
        return int(2 ** (len(options["blocks_down"]) - 1))
    return _MULTIPLES.get(member, _DEFAULT_MULTIPLE)
