"""Masks measured against masks, as data frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.formats.mask_folder import Layout
from pipeline.metrics.empty import Convention


@dataclass(frozen=True)
class Evaluation:
    """What came of measuring predictions against references.

    Attributes:
        table: A row per scan and organ: Dice, IoU, surface distances, volumes, each in the unit of column ``unit``.
            ``NaN`` is what is undefined, such as the distance to an empty mask.
        summary: A row per organ and metric: the mean over patients with its 95 % bootstrap interval.
        failed: Scan → why it could not be measured.
        without_reference: Scans of the predictions that have no reference.
        read_as: What was taken for scans and organs, in lines.
        convention: Rule for empty masks.
    """

    table: pd.DataFrame
    summary: pd.DataFrame
    failed: dict[str, str]
    without_reference: list[str]
    read_as: list[str]
    convention: str


def evaluate(
    predictions: str | Path,
    references: str | Path,
    organs: Sequence[str] | Mapping[int, str] | None = None,
    *,
    spacing: tuple[float, ...] | None = None,
    convention: Convention = "organseg",
    layout: Layout | None = None,
) -> Evaluation:
    """Measure the masks of two files or two folders, whose scans and organs are told by what varies in their paths.

    Args:
        predictions: File or folder of masks in any format, or a file of run lengths.
        references: The same of the truth.
        organs: Names of the values 1, 2, …, or value → name; by default every value is an organ of its own.
        spacing: mm along each axis, for files that hold none; without it their lengths are in pixels.
        convention: Rule for empty masks: ``organseg``, ``nnunet``, ``monai``, ``smp`` or ``metrics-reloaded``.
        layout: What paths in folders say, where that is not to be told: ``scan``, ``scan/organ`` or ``organ/scan``.

    Returns:
        Figures per scan and organ, and over patients. A scan that could not be measured is in ``failed``.

    Raises:
        InputError: Nothing is there or nothing matches; of two single files also what is wrong with one of them.
    """
    from pipeline.evaluate import compare

    named = organs if isinstance(organs, Mapping) or organs is None else dict(enumerate(organs, 1))
    found = compare(predictions, references, named, spacing=spacing, convention=convention, layout=layout)
    facts = found.facts()
    return Evaluation(
        table=pd.DataFrame(facts["scans"]),
        summary=pd.DataFrame(facts["summary"]),
        failed=facts["failed"],
        without_reference=facts["without_reference"],
        read_as=facts["read_as"],
        convention=facts["convention"],
    )
