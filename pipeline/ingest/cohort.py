"""Findings that only the cohort shows: outliers, missing organs, organs on the wrong side or swapped, duplicates."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.study import Study
from pipeline.ingest.quality import Finding
from pipeline.ingest.thumbs import near_duplicates

#: Fewer scans than this say nothing about what is usual.
_FEWEST = 8
#: Robust z-score (Iglewicz and Hoaglin, 1993) beyond which a value is an outlier.
_OUTLIER = 6.0
#: An organ that at least this share of the annotated scans has is expected in all.
_MOST = 0.8
_RANGES = {
    "low": "the darkest grey values",
    "high": "the brightest grey values",
    "size_x": "the size along X",
    "size_y": "the size along Y",
    "size_z": "the size along Z",
    "spacing_x": "the spacing along X",
    "spacing_y": "the spacing along Y",
    "spacing_z": "the spacing along Z",
}
#: A scan with two organs swapped must look this much likelier with them exchanged, in squared robust z-scores.
_SWAP_GAIN = 15.0
#: One feature's squared z-score counts at most this much, so that one odd value decides nothing.
_CAP = 16.0


def cohort_findings(
    study: Study, cells: Sequence[Mapping[str, Any]], facts: Sequence[Mapping[str, Any]]
) -> list[list[Finding]]:
    """Findings of each scan, in the order given.

    Args:
        study: The study.
        cells: Rows of ``scans.csv``.
        facts: For each row ``thumb`` and, of labelled scans, ``organs``: place and shape of each.
    """
    found: list[list[Finding]] = [[] for _ in cells]
    _outliers(cells, found)
    _missing(study, cells, found)
    _sides(study, facts, found)
    _swaps(study, facts, found)
    patients = [str(row["patient_id"]) for row in cells]
    for one, other, _ in near_duplicates([str(fact["thumb"]) for fact in facts], patients):
        for mine, theirs in ((one, other), (other, one)):
            found[mine].append(Finding("near_duplicate", f"looks like {cells[theirs]['scan_id']} of another patient"))
    return found


def robust_z(values: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    """Robust z-scores, 0.6745 (x − median) / MAD; where most values are equal, the mean deviation stands in.

    Args:
        values: One number a scan.
        floor: Smallest spread to divide by.
    """
    off = values - np.median(values)
    mad = float(np.median(np.abs(off))) / 0.6745
    spread = max(mad, float(np.mean(np.abs(off))) * 1.2533, floor)
    return off / spread


def _outliers(cells: Sequence[Mapping[str, Any]], found: list[list[Finding]]) -> None:
    if len(cells) < _FEWEST:
        return
    for column, words in _RANGES.items():
        raw = np.array([float(row[column]) for row in cells])
        # Sizes and grey ranges spread by factors, not by sums; asinh is a logarithm that takes zero and negatives.
        values = np.arcsinh(raw) if column in {"low", "high"} else np.log(np.maximum(raw, 1e-9))
        for index in np.flatnonzero(np.abs(robust_z(values, 0.05)) > _OUTLIER):
            code, verb = ("outlier_grey", "are") if column in {"low", "high"} else ("outlier_size", "is")
            found[int(index)].append(Finding(code, f"{words} {verb} far from the study's"))


def _missing(study: Study, cells: Sequence[Mapping[str, Any]], found: list[list[Finding]]) -> None:
    present: dict[str, list[bool]] = defaultdict(list)
    for row in cells:
        has = set(str(row.get("organs") or "").split(";"))
        for organ in str(row.get("annotated") or "").split(";"):
            present[organ].append(organ in has)
    for organ in study.organs:
        seen = present[organ]
        if len(seen) < _FEWEST or not _MOST <= np.mean(seen) < 1:
            continue
        for row, findings in zip(cells, found, strict=True):
            annotated = str(row.get("annotated") or "").split(";")
            if organ in annotated and organ not in str(row.get("organs") or "").split(";"):
                share = float(np.mean(seen))
                findings.append(Finding("organ_missing", f"{organ} is absent, and present in {share:.0%} of the scans"))


def _sides(study: Study, facts: Sequence[Mapping[str, Any]], found: list[list[Finding]]) -> None:
    """An organ named left lies further to the patient's left than its mirror named right."""
    for left, right in left_right_pairs(study):
        for fact, findings in zip(facts, found, strict=True):
            organs = fact.get("organs") or {}
            if left in organs and right in organs and organs[left]["place"][0] > organs[right]["place"][0]:
                findings.append(Finding("sides", f"{left} lies to the right of {right}"))


def left_right_pairs(study: Study) -> list[tuple[str, str]]:
    """Pairs of organs that differ in the words left and right."""
    pairs = []
    for name in study.organs:
        words = re.split(r"[^a-zA-Z]+", name.lower())
        if "left" in words:
            other = next((o for o in study.organs if o.lower() == name.lower().replace("left", "right")), None)
            if other is not None:
                pairs.append((name, other))
    return pairs


def _swaps(study: Study, facts: Sequence[Mapping[str, Any]], found: list[list[Finding]]) -> None:
    """Two organs are swapped if each looks like the other in place, size and shape.

    Every organ has robust statistics over the cohort; a scan's two organs are compared with them as they are named and
    the other way round, the squared z-scores capped.
    """
    organs = tuple(study.organs)
    rows = [index for index, fact in enumerate(facts) if len(fact.get("organs") or {}) >= 2]
    if len(rows) < _FEWEST:
        return
    for one, other in itertools.combinations(organs, 2):
        both = [i for i in rows if one in facts[i]["organs"] and other in facts[i]["organs"]]
        if len(both) < _FEWEST:
            continue
        pairs = _pair_features([(facts[i]["organs"][one], facts[i]["organs"][other]) for i in both])
        straight = pairs[:, 0], pairs[:, 1]
        centres = [np.median(side, axis=0) for side in straight]
        spreads = [_spread(side, centre) for side, centre in zip(straight, centres, strict=True)]
        named = sum(_cost(side, c, s) for side, c, s in zip(straight, centres, spreads, strict=True))
        crossed = sum(_cost(side, c, s) for side, c, s in zip(straight[::-1], centres, spreads, strict=True))
        for index, gain in zip(both, np.asarray(named) - np.asarray(crossed), strict=True):
            if gain > _SWAP_GAIN:
                found[index].append(
                    Finding("swapped", f"{one} and {other} look swapped, by their place, size and shape")
                )


def _pair_features(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> NDArray[np.float64]:
    """``(N, 2, 9)``: for each of two organs its place and size against both together, share, filling and shape."""

    def gather(what: str) -> NDArray[np.float64]:
        return np.array([[one[what], other[what]] for one, other in pairs], float)

    places, extents, voxels, fill = (gather(what) for what in ("place", "extent", "voxels", "fill"))
    low = (places - extents / 2).min(axis=1, keepdims=True)
    high = (places + extents / 2).max(axis=1, keepdims=True)
    size = np.maximum(np.linalg.norm(high - low, axis=2, keepdims=True), 1e-6)
    relative = (places - (low + high) / 2) / size
    shapes = np.log(np.maximum(extents, 1e-6) / size)
    share = np.log(voxels / voxels.sum(axis=1, keepdims=True))[..., None]
    slender = (extents / np.maximum(np.linalg.norm(extents, axis=2, keepdims=True), 1e-6))[..., :1]
    return np.concatenate([relative, shapes, share, fill[..., None], slender], axis=2)


def _spread(values: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(np.median(np.abs(values - centre), axis=0) / 0.6745, 0.02)


def _cost(values: NDArray[np.float64], centre: NDArray[np.float64], spread: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.minimum(((values - centre) / spread) ** 2, _CAP).sum(axis=1)
