"""Errors that say that memory ran out, on a GPU or on the machine."""

from __future__ import annotations

import torch


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device, or the machine, has no memory left."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in text or "out of memory" in text
