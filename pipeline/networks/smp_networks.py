"""Networks of segmentation_models_pytorch by architecture and encoder, where the extra ``smp`` is installed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.core.errors import InputError
from pipeline.networks.blocks import PaddedNetwork
from pipeline.networks.encoder_weights import load_encoder

#: Sides are multiples of 32, as its encoders halve five times; PAN halves its lowest features three times more.
MULTIPLE, PAN_MULTIPLE = 32, 64
#: Operators that torchvision's Python part wants to see; its compiled part is for a torch of CUDA alone.
OPERATORS = ("nms", "qnms")
_LIBRARIES: list[torch.library.Library] = []


def build(
    *, spatial_dims: int, in_channels: int, out_channels: int, member: str, weights: str, **options: Any
) -> PaddedNetwork:
    """Build ``smp:<architecture>/<encoder>``, with any encoder that the package knows.

    Args:
        spatial_dims: 2.
        in_channels: Channels of the image.
        out_channels: Logits per pixel.
        member: ``<architecture>/<encoder>``, as :func:`~pipeline.networks.check` lets it through.
        weights: Of the encoder: a file, or ``none``. Nothing is downloaded.
        options: Those of the architecture's class.

    Returns:
        The network, whose attribute ``taken`` says what came from the file.

    Raises:
        InputError: The package does not import here, knows no such network, or the weights do not fit.
    """
    architecture, _, encoder = member.partition("/")
    smp = _package(member)
    path = _file(smp, encoder, weights)
    if architecture == "dpt":
        options = {"dynamic_img_size": True, **options}
    try:
        network = smp.create_model(
            architecture, encoder, encoder_weights=None, in_channels=in_channels, classes=out_channels, **options
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"segmentation_models_pytorch refuses smp:{member} ({error})", where="network") from error
    _accept_single_values(network)
    padded = PaddedNetwork(network, spatial_dims, PAN_MULTIPLE if architecture == "pan" else MULTIPLE)
    if path is not None:
        padded.taken = load_encoder(network.encoder, path, f"the encoder {encoder}", _remedy(smp, encoder))
    return padded


def _package(member: str) -> ModuleType:
    try:
        _ensure_operators()
        return importlib.import_module("segmentation_models_pytorch")
    except (ImportError, RuntimeError) as error:
        raise InputError(
            f"segmentation_models_pytorch does not import here ({error})",
            where=f"network smp:{member}",
            remedy="pip install 'organseg[smp]' -c .ci/constraints.txt, in an environment of its own.",
        ) from error


def _ensure_operators() -> None:
    """Let torchvision be imported beside a torch without its compiled operators, which no network here calls.

    Where they are there, nothing is defined.
    """
    if "torchvision" in sys.modules or _LIBRARIES:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for operator in OPERATORS:
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _LIBRARIES.append(library)


def _file(smp: ModuleType, encoder: str, weights: str) -> Path | None:
    """The file of weights, or ``None``; what would have to be fetched is refused, with what to fetch."""
    if weights == "none":
        return None
    path = Path(weights).expanduser()
    if not path.is_file() and not path.suffix:
        raise InputError(
            f"weights of the name {weights!r} would be downloaded, and organseg downloads nothing",
            where="network weights",
            remedy=_remedy(smp, encoder, weights),
        )
    return path


def _remedy(smp: ModuleType, encoder: str, weights: str = "imagenet") -> str:
    known = smp.encoders.encoders.get(encoder, {}).get("pretrained_settings", {})
    settings = known.get(weights) or next(iter(known.values()), None)
    if settings is None:
        return f"Fetch a file of weights for {encoder}, and name it: weights: FILE."
    return (
        f"Fetch model.safetensors of https://huggingface.co/{settings['repo_id']} at revision {settings['revision']}, "
        "and name the file: weights: FILE."
    )


class _BatchNorm(nn.BatchNorm2d):
    """Batch norm that takes one value a channel: global pooling leaves no more of a batch of one."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            # One value has no variance; it is normalised by those that were seen before.
            mean, variance = self.running_mean, self.running_var
            return nn.functional.batch_norm(x, mean, variance, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


def _accept_single_values(network: nn.Module) -> None:
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _BatchNorm
