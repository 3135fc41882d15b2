"""ImageNet weights of VGG encoders, from torchvision's files or one's own, for any number of input channels."""

from __future__ import annotations

import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.core.cache import cached, writable
from pipeline.core.errors import InputError
from pipeline.core.files import sha256_of, whole_file

#: (depth, batch norm) → torchvision's file, whose name ends in the first eight digits of its sha256.
FILES = {
    (11, False): "vgg11-8a719046.pth",
    (11, True): "vgg11_bn-6002323d.pth",
    (16, False): "vgg16-397923af.pth",
    (16, True): "vgg16_bn-6c64b313.pth",
}
ADDRESS = "https://download.pytorch.org/models"
_TIMEOUT_S = 30


def encoder_weights(
    weights: str, depth: int, batch_norm: bool, in_channels: int, encoder: nn.Module
) -> dict[str, Tensor]:
    """State dict for the encoder, keys without the prefix ``features.``.

    RGB filters are summed for one channel. For C other channels each takes one of R, G, B in turn, scaled by 3 / C, so
    that the size of the response stays about what it was.

    Args:
        weights: ``imagenet`` or a file with torchvision's keys (``.pth``, or ``.safetensors``).
        depth: 11 or 16.
        batch_norm: Whether the encoder has batch norm.
        in_channels: Channels of the image.
        encoder: The encoder to be filled; its keys and shapes are what the file must have.

    Raises:
        InputError: The file is absent, damaged, of another network, or cannot be downloaded.
    """
    path = _imagenet_file(depth, batch_norm) if weights == "imagenet" else Path(weights).expanduser()
    state = _read(path)
    found = {key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")}
    wanted = encoder.state_dict()
    if set(found) != set(wanted):
        raise InputError(
            f"holds other layers than VGG-{depth} {'with' if batch_norm else 'without'} batch norm",
            where=str(path),
            remedy=f"Give a file like {FILES[depth, batch_norm]}, or set batch_norm to what the file has.",
        )
    found["0.weight"] = fold_channels(found["0.weight"], in_channels)
    for key, value in found.items():
        if value.shape != wanted[key].shape:
            raise InputError(
                f"features.{key} is {tuple(value.shape)}, not {tuple(wanted[key].shape)}",
                where=str(path),
                remedy=f"Give a file like {FILES[depth, batch_norm]}.",
            )
    return found


def fold_channels(filters: Tensor, channels: int) -> Tensor:
    """First-layer filters ``(N, 3, h, w)`` for another number of input channels ``(N, channels, h, w)``."""
    if filters.shape[1] == channels:
        return filters
    if channels == 1:
        return filters.sum(1, keepdim=True)
    turn = torch.arange(channels) % filters.shape[1]
    return filters[:, turn] * (filters.shape[1] / channels)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(
            "the file of weights does not exist", where=str(path), remedy="Set weights to imagenet, none or a file."
        )
    digits = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    if digits and not sha256_of(path).startswith(digits[1]):
        raise InputError(
            "the checksum differs from the one in the file's name",
            where=str(path),
            remedy=f"Fetch it again from {ADDRESS}/{path.name}.",
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # Readers of damaged files raise anything.
        raise InputError(f"is not readable as weights ({type(error).__name__})", where=str(path)) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError("is not a table of tensors", where=str(path), remedy="Give a state dict.")
    return state


def _imagenet_file(depth: int, batch_norm: bool) -> Path:
    """The file of ImageNet weights in the cache; it is downloaded where it is not there yet."""
    path = cached(FILES[depth, batch_norm])
    if path.is_file():
        return path
    path = writable(path)
    address = f"{ADDRESS}/{path.name}"
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT_S) as source, whole_file(path) as part:
            with open(part, "wb") as target:
                shutil.copyfileobj(source, target)
            if not sha256_of(part).startswith(path.stem.rpartition("-")[2]):
                raise InputError("the download is damaged: its checksum differs", where=address, remedy="Try again.")
    except (urllib.error.URLError, OSError) as error:
        raise InputError(
            f"the ImageNet weights cannot be downloaded ({error})",
            where=address,
            remedy=f"On a machine without network, put the file {path.name} into {path.parent} "
            "(or into the folder that ORGANSEG_CACHE names), or set weights to none.",
        ) from error
    return path
