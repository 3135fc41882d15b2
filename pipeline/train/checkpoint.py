"""Checkpoints: the whole state of a training in one safetensors file, written whole or not at all, never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from pipeline.core.errors import InputError
from pipeline.core.files import read_json, write_json
from pipeline.inference.model_files import load_tensors, save_tensors
from pipeline.train.engine import Settings

STATE = "state.safetensors"
SETTINGS = "settings.json"
JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class Progress:
    """Where a training stands, beside its tensors.

    Attributes:
        step: Steps taken.
        seconds: Time that they took, over all attempts.
        loss_sum: Sum of the losses since the last line of the journal.
        loss_count: Number of those losses.
    """

    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    loss_count: int = 0


def write_checkpoint(folder: Path, tensors: Mapping[str, Tensor], progress: Progress) -> None:
    """Replace the folder's checkpoint."""
    save_tensors(folder / STATE, tensors, {"progress": json.dumps(asdict(progress))})


def read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], Progress] | None:
    """The folder's checkpoint, or ``None`` where there is none.

    Raises:
        InputError: The file is damaged.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    tensors, metadata = load_tensors(path)
    if "progress" not in metadata:
        raise InputError("is not a checkpoint", where=str(path), remedy="Delete it; training then starts anew.")
    return tensors, Progress(**json.loads(metadata["progress"]))


def write_settings(folder: Path, settings: Settings) -> None:
    """Keep what was settled before the first step."""
    write_json(folder / SETTINGS, asdict(settings))


def read_settings(folder: Path) -> Settings | None:
    """What an earlier attempt settled, or ``None``."""
    path = folder / SETTINGS
    return Settings(**read_json(path)) if path.is_file() else None
