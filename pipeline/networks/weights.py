"""Weights of a network as safetensors, written whole and read strictly."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from pipeline.core.errors import InputError
from pipeline.core.files import write_bytes


def save_weights(network: nn.Module, path: str | Path) -> None:
    """Write a network's parameters and buffers; a compiled or distributed wrapper leaves no trace in the keys."""
    state = {}
    for key, value in network.state_dict().items():
        # safetensors refuses channels-last and shared memory.
        state[key.replace("_orig_mod.", "").removeprefix("module.")] = value.detach().cpu().contiguous().clone()
    write_bytes(path, save(state))


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Read weights into a network of the same architecture.

    Raises:
        InputError: The file is absent, damaged, or of another architecture.
    """
    path = Path(path)
    try:
        state = load(path.read_bytes())
    except FileNotFoundError:
        raise InputError("the file of weights does not exist", where=str(path)) from None
    except SafetensorError as error:
        raise InputError(f"is not readable as safetensors ({error})", where=str(path)) from None
    wanted = network.state_dict()
    odd = sorted(key for key in {*state, *wanted} if key not in state or key not in wanted)
    odd += sorted(key for key in state if key in wanted and state[key].shape != wanted[key].shape)
    if odd:
        raise InputError(
            f"holds another network: {len(odd)} tensors differ, the first is {odd[0]}",
            where=str(path),
            remedy="Build the network from the configuration that lies beside the weights.",
        )
    network.load_state_dict(state)
