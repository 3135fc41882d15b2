"""Draft a manifest from a folder: a Decathlon or nnU-Net set, a BIDS tree, or scans and masks as people keep them.

Names, paths, headers and contents are evidence. What was assumed is said; where the evidence does not decide, the
folder is refused with both readings named.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.formats.path_words import stem
from pipeline.ingest.drafts.bids import draft_bids, is_bids
from pipeline.ingest.drafts.datasets import draft_described
from pipeline.ingest.drafts.plain import draft_plain
from pipeline.ingest.drafts.summary import Choices, Draft

__all__ = ["Choices", "Draft", "draft", "stem"]


def draft(folder: Path, choices: Choices | None = None) -> Draft:
    """Draft a manifest from what lies in a folder.

    Args:
        folder: The folder.
        choices: What to take where the folder can be read in two ways.

    Raises:
        InputError: The folder is absent, holds no scan, or can be read in two ways.
    """
    if not folder.is_dir():
        raise InputError("is not a folder", where=str(folder))
    choices = choices or Choices()
    found = draft_described(folder, choices)
    if found is None and is_bids(folder):
        found = draft_bids(folder, choices)
    if found is None:
        found = draft_plain(folder, choices)
    if not found.rows:
        told = "; ".join(f"{reason} ({len(paths)})" for reason, paths in found.left_out.items() if paths)
        raise InputError(
            f"holds no scan that could be told by its name{f'; left out: {told}' if told else ''}",
            where=str(folder),
            remedy="Write the manifest by hand.",
        )
    return found
