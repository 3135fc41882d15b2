"""A trained model as files: ``weights.safetensors`` with ``model.json`` beside it; nothing is pickled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from pipeline.core.errors import InputError
from pipeline.core.files import whole_file, write_json
from pipeline.core.plan import Plan, parse_plan
from pipeline.inference.champion import MODEL, MODEL_FORMAT, WEIGHTS, model_facts
from pipeline.networks import build

FACTS = MODEL


def build_for(plan: Plan, *, pretrained: bool = False) -> nn.Module:
    """Build the network of a plan.

    Args:
        plan: The plan.
        pretrained: Load the weights that the plan's network names, such as ImageNet's. They are not wanted where
            trained weights follow.
    """
    spec = dict(plan.network)
    if not pretrained and "weights" in spec:
        spec["weights"] = "none"
    return build(spec, spatial_dims=plan.spatial_dims, in_channels=plan.in_channels, out_channels=plan.out_channels)


def contiguous(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors on the CPU in plain memory order, none sharing memory with another, as safetensors stores them."""
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in state.items()}


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors, whole or not at all."""
    with whole_file(path) as part:
        safetensors.torch.save_file(contiguous(tensors), part, dict(metadata or {}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and metadata.

    Raises:
        InputError: The file is absent or is not safetensors.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as handle:
            return {name: handle.get_tensor(name) for name in handle.keys()}, handle.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError("the file does not exist", where=str(path)) from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"is not readable as safetensors ({error})", where=str(path)) from None


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """Hash of names, shapes and bits of weights."""
    outer = hashlib.sha256()
    for name, value in sorted(contiguous(state).items()):
        outer.update(f"{name}\0{tuple(value.shape)}\0{value.dtype}\0".encode())
        outer.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return outer.hexdigest()[:16]


def save_model(folder: Path, network: nn.Module, plan: Plan, facts: Mapping[str, Any]) -> None:
    """Write ``weights.safetensors`` and ``model.json``.

    Args:
        folder: Folder of the model; it is made.
        network: The trained network, of the plan's kind.
        plan: The plan that it was built by.
        facts: JSON-like facts about its training.
    """
    state = network.state_dict()
    save_tensors(folder / WEIGHTS, state)
    content = {
        "format": MODEL_FORMAT,
        "weights": weights_digest(state),
        "facts": dict(facts),
        "plan": plan.model_dump(mode="json"),
    }
    write_json(folder / FACTS, content)


def load_model(folder: Path, device: torch.device | str = "cpu") -> tuple[nn.Module, Plan, dict[str, Any]]:
    """Read a model.

    Args:
        folder: Where :func:`save_model` wrote it.
        device: Where the network is wanted.

    Returns:
        The network in evaluation mode, its plan, and the facts about its training.

    Raises:
        InputError: A file is absent or damaged, or the weights do not fit the plan.
    """
    content = model_facts(folder)
    plan = parse_plan(content["plan"], str(folder / FACTS))
    network = build_for(plan)
    tensors, _ = load_tensors(folder / WEIGHTS)
    if content.get("weights") != weights_digest(tensors):
        raise InputError(
            "the weights are not those that `organseg train` wrote with the model.json beside them",
            where=str(folder / WEIGHTS),
            remedy="Copy the folder again from where it was made, or train the model again.",
        )
    try:
        network.load_state_dict(tensors)
    except RuntimeError:
        raise InputError(
            "the weights do not fit the plan beside them", where=str(folder), remedy="Train the model again."
        ) from None
    return network.to(device).eval(), plan, dict(content.get("facts", {}))
