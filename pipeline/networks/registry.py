"""The one table of networks. It imports no torch, so that a configuration is checked at once."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import InputError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class NetworkEntry:
    """One network of the registry.

    Attributes:
        name: What a study calls it. One that ends in ``:`` is a family that the study completes (``monai:SegResNet``).
        dims: Spatial dimensions that it can be built for.
        module: Module and what builds it, a class or a function, as ``package.module:name``.
        summary: One line for the user.
        defaults: Every option of the network with its default.
        free_options: Options beyond ``defaults`` are handed on to a library, which checks them.
    """

    name: str
    dims: tuple[int, ...]
    module: str
    summary: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    free_options: bool = False


_UNET = {
    "features": (16, 32, 64, 128),
    "strides": None,
    "kernel_sizes": None,
    "encoder_convs": 2,
    "decoder_convs": 2,
    "residual": False,
    "skip": "concat",
    "norm": "instance",
    "dropout": 0.0,
    "deep_supervision": 1,
}
_CLASSIC = {"features": (64, 128, 256, 512), "batch_norm": True, "dropout": 0.3, "upsampling": "deconv"}
_TUTORIAL = {"features": (8, 16, 32, 64, 128), "batch_norm": True, "dropout": 0.0, "upsampling": "deconv"}
_EFFNET = {
    "weights": "none",
    "features": (16, 32, 48, 64, 96),
    "decoder_convs": 1,
    "norm": "batch",
    "dropout": 0.0,
    "deep_supervision": 1,
}
_TERNAUS = {"weights": "none", "batch_norm": False, "upsampling": "deconv", "features": 32}

_ENTRIES = (
    NetworkEntry(
        "unet",
        (2, 3),
        "pipeline.networks.unet:UNet",
        "U-Net shaped by the plan: strided convolutions, instance norm, deep supervision, anisotropic kernels.",
        _UNET,
    ),
    NetworkEntry(
        "unet_classic",
        (2, 3),
        "pipeline.networks.unet_classic:ClassicUNet",
        "The textbook U-Net: double convolutions with batch norm, max pooling, dropout in the bottleneck.",
        _CLASSIC,
    ),
    NetworkEntry(
        "unet_tutorial",
        (2, 3),
        "pipeline.networks.unet_classic:ClassicUNet",
        "The small U-Net of the Keras tutorials, 8 to 128 features.",
        _TUTORIAL,
    ),
    NetworkEntry(
        "ternausnet11",
        (2,),
        "pipeline.networks.ternausnet:build_11",
        "TernausNet: a U-Net whose encoder is VGG-11, from ImageNet if wanted.",
        _TERNAUS,
    ),
    NetworkEntry(
        "ternausnet16",
        (2,),
        "pipeline.networks.ternausnet:build_16",
        "TernausNet with a VGG-16 encoder.",
        _TERNAUS,
    ),
    *(
        NetworkEntry(
            f"unet_effnet_lite{size}",
            (2,),
            f"pipeline.networks.effnet_lite:build_{size}",
            f"U-Net whose encoder is EfficientNet-lite{size}, from ImageNet if wanted.",
            _EFFNET,
        )
        for size in range(3)
    ),
    NetworkEntry(
        "monai:",
        (2, 3),
        "pipeline.networks.monai_networks:build",
        "A network of MONAI by class name, such as monai:SegResNet; options are those of the class.",
        free_options=True,
    ),
    NetworkEntry(
        "smp:",
        (2,),
        "pipeline.networks.smp_networks:build",
        "segmentation_models_pytorch by architecture and encoder, such as smp:unetplusplus/resnet34, where installed.",
        {"weights": "none"},
        free_options=True,
    ),
)
REGISTRY: Mapping[str, NetworkEntry] = {entry.name: entry for entry in _ENTRIES}


def names() -> tuple[str, ...]:
    """Names of all networks; those that end in ``:`` are families."""
    return tuple(REGISTRY)


def entry_of(name: str) -> NetworkEntry:
    """The entry that a study's network name belongs to.

    Raises:
        InputError: There is no such network; the message gives the nearest names.
    """
    family, colon, rest = name.partition(":")
    entry = REGISTRY.get(family + colon)
    if entry is not None and (rest or not colon):
        return entry
    if entry is not None:
        raise InputError(
            f"the network {name!r} is a family and lacks its member", where="network name", remedy=entry.summary
        )
    raise InputError(
        f"there is no network {name!r}", where="network name", remedy=_nearest(family + colon, REGISTRY, "networks")
    )


def check(spec: Mapping[str, Any], *, spatial_dims: int) -> NetworkEntry:
    """Check a network specification without building it, and without torch.

    Args:
        spec: ``{"name": ..., option: value, ...}``.
        spatial_dims: 2 or 3.

    Raises:
        InputError: No name, an unknown name or option, or dimensions that the network does not have.
    """
    name = spec.get("name")
    if not isinstance(name, str) or not name:
        raise InputError("the network has no name", where="network", remedy=f"Networks: {', '.join(names())}.")
    entry = entry_of(name)
    if spatial_dims not in entry.dims:
        raise InputError(
            f"{name} exists in {' and '.join(f'{d}-D' for d in entry.dims)} only, not in {spatial_dims}-D",
            where="network",
            remedy="Let the model see slices (dims: 2), or take another network.",
        )
    if name.startswith("monai:"):
        _check_monai(name.partition(":")[2])
    if name.startswith("smp:"):
        _check_smp(name.partition(":")[2])
    if not entry.free_options:
        for option in set(spec) - {"name", *entry.defaults}:
            raise InputError(
                f"{name} has no option {option!r}", where="network", remedy=_nearest(option, entry.defaults, "options")
            )
    return entry


def _check_monai(member: str) -> None:
    """Refuse a class that the installed MONAI does not have; by the text of its module, as importing takes seconds."""
    spec = importlib.util.find_spec("monai")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    text = "".join(Path(place, "networks", "nets", "__init__.py").read_text(encoding="utf-8") for place in places)
    known = set(re.findall(r"\b[A-Z]\w+", text))
    if known and member not in known:
        raise InputError(
            f"MONAI has no network {member!r}", where="network name", remedy=_nearest(member, sorted(known), "networks")
        )


def _check_smp(member: str) -> None:
    """Refuse a member without an encoder, and the whole family where its package is not installed."""
    architecture, _, encoder = member.partition("/")
    if not (architecture and encoder):
        raise InputError(
            f"smp:{member} does not name an encoder", where="network name", remedy="Write smp:unetplusplus/resnet34."
        )
    if importlib.util.find_spec("segmentation_models_pytorch") is None:
        raise InputError(
            "segmentation_models_pytorch is not installed",
            where=f"network smp:{member}",
            remedy="pip install 'organseg[smp]' -c .ci/constraints.txt, or take unet_effnet_lite0 or "
            "monai:FlexibleUNet, which do without it.",
        )


def build(spec: Mapping[str, Any], *, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
    """Build a network with fresh weights, drawn from torch's global generator.

    Args:
        spec: ``{"name": ..., option: value, ...}``; options left out take the defaults of the entry.
        spatial_dims: 2 or 3.
        in_channels: Channels of the image, at least 1.
        out_channels: Logits per voxel: organs plus background where exclusive, organs where overlapping.

    Returns:
        A module: ``(B, in_channels, *spatial)`` float → logits ``(B, out_channels, *spatial)`` for any spatial size. In
        training mode with deep supervision it returns a list of logits, full resolution first.

    Raises:
        InputError: The specification is wrong, or a package that the network needs is not installed.
    """
    entry = check(spec, spatial_dims=spatial_dims)
    if in_channels < 1 or out_channels < 1:
        raise InputError(f"a network needs channels in and out, not {in_channels} and {out_channels}", where="network")
    options = {**entry.defaults, **{key: value for key, value in spec.items() if key != "name"}}
    module, _, function = entry.module.partition(":")
    builder = getattr(importlib.import_module(module), function)
    member = spec["name"].partition(":")[2]
    if member:
        options["member"] = member
    network: nn.Module = builder(
        spatial_dims=spatial_dims, in_channels=in_channels, out_channels=out_channels, **options
    )
    return network


def _nearest(word: str, known: Iterable[str], kind: str) -> str:
    near = difflib.get_close_matches(word, list(known), n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"Known {kind}: {', '.join(known)}."
