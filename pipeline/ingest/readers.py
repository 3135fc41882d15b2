"""Several readers of one scan: whose mask counts, and how far they agree."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.labels import LabelMap
from pipeline.core.study import Study
from pipeline.metrics.overlap import dice

Drawn = Mapping[str, Mapping[str, NDArray[np.bool_]]]


def together(base: LabelMap, drawn: Drawn, study: Study, notes: dict[str, Any]) -> tuple[LabelMap, dict[str, float]]:
    """The masks that count, as ``ingest.readers`` says, and how far the readers agree.

    Args:
        base: The organs that have one mask, overlapping.
        drawn: Organ → reader → mask ``(X, Y, Z)`` on the same grid.
        study: The study.
        notes: Takes ``overlap_voxels`` of organs that share voxels and may not.

    Returns:
        The label map, and organ → mean Dice over pairs of readers. Pairs that both drew nothing count for nothing.
    """
    masks = {organ: base.mask(organ) for organ in base.organs if organ in base.annotated}
    agreed: dict[str, float] = {}
    for organ, own in drawn.items():
        masks[organ] = counting(own, study.ingest.readers)
        pairs = [dice(one, other) for one, other in itertools.combinations(own.values(), 2)]
        known = [value for value in pairs if not np.isnan(value)]
        if known:
            agreed[organ] = float(np.mean(known))
    shared = np.zeros(base.data.shape, np.uint8)
    for mask in masks.values():
        shared += mask
    if (shared > 1).any() and not study.overlapping:
        notes["overlap_voxels"] = int((shared > 1).sum())
    annotated = base.annotated | frozenset(drawn)
    kept = masks or {study.organ_names()[0]: np.zeros(base.data.shape, bool)}
    labels = LabelMap.from_masks(kept, base.affine, base.organs, overlapping=study.overlapping, annotated=annotated)
    return labels, agreed


def counting(own: Mapping[str, NDArray[np.bool_]], chosen: str | None) -> NDArray[np.bool_]:
    """The mask that counts of those of an organ's readers: one's, the majority's, or what all marked.

    Raises:
        ValueError: Nothing says which; the manifest is refused before that.
    """
    if chosen is None:
        raise ValueError("ingest.readers is not set")
    if chosen in own:
        return own[chosen]
    votes = np.sum(list(own.values()), axis=0)
    return votes * 2 > len(own) if chosen == "majority" else votes == len(own)
