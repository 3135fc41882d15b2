"""What the development scans are like: sizes, spacings, intensities, and each organ's size and place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.say import Say, quiet
from pipeline.core.scan import Array, Scan
from pipeline.core.study import Study
from pipeline.formats.store import read_labels, read_scan
from pipeline.imaging.normalisation import AIR
from pipeline.imaging.surfaces import bounding_box

#: Scans that are opened at most; sizes and spacings come from the table for all of them.
MOST_SCANS = 200
#: Organ voxels that a scan contributes to the intensity statistics.
VOXELS_A_SCAN = 10_000


def measure(rows: Sequence[Mapping[str, str]], study: Study, paths: StudyPaths, say: Say = quiet) -> dict[str, Any]:
    """Measure the fingerprint.

    Args:
        rows: Rows of ``scans.csv``: labelled scans of development patients.
        study: The study.
        paths: Its places.
        say: Takes lines about progress.

    Returns:
        A JSON-like mapping. Lengths are in mm, of the ``measured`` scans whose spacing is known; where no scan's is,
        they are in pixels, as ``unit`` says. The two are never mixed.

    Raises:
        InputError: There is no scan, pictures and volumes are mixed, or scans have different numbers of channels.
    """
    if not rows:
        raise InputError("no development patient has a labelled scan", remedy="Lower split.test_fraction.")
    ordered = sorted(rows, key=lambda row: row["scan_id"])
    sizes = np.array([[int(row[f"size_{axis}"]) for axis in "xyz"] for row in ordered])
    spacings = np.array([[float(row[f"spacing_{axis}"]) for axis in "xyz"] for row in ordered])
    flat = _uniform(ordered, [bool(size == 1) for size in sizes[:, 2]], "pictures and volumes are mixed")
    channels = _uniform(ordered, [int(row["channels"]) for row in ordered], "scans have different numbers of channels")
    opened = [ordered[i] for i in np.unique(np.linspace(0, len(ordered) - 1, MOST_SCANS).astype(int))]
    known = np.array([row["spacing_source"] != "unknown" for row in ordered])
    unit, counted = ("mm", known) if known.any() else ("px", ~known)
    facts = []
    for row in opened:
        scan = read_scan(paths.scan(row["shard"], row["scan_id"]))
        facts.append(_scan_facts(scan, read_labels(paths.mask(row["shard"], row["scan_id"])), unit))
    say(f"fingerprint of {len(ordered)} scans, {len(opened)} of them opened")
    return {
        "scans": len(ordered),
        "opened": len(opened),
        "flat": flat,
        "channels": channels,
        "unit": unit,
        "measured": int(counted.sum()),
        "size": _quantiles(sizes),
        "spacing": _quantiles(spacings[counted]),
        "extent": _quantiles((sizes * spacings)[counted]),
        "zero_share": round(float(np.median([f["zero_share"] for f in facts])), 4),
        "air_share": round(float(np.median([f["air_share"] for f in facts])), 4),
        "organ_intensity": _intensity([f["sample"] for f in facts]),
        "organs": {organ: _organ([f["organs"][organ] for f in facts]) for organ in study.organ_names()},
    }


def _uniform(rows: Sequence[Mapping[str, str]], values: Sequence[Any], what: str) -> Any:
    odd = next((row for row, value in zip(rows, values, strict=True) if value != values[0]), None)
    if odd is not None:
        raise InputError(
            f"{what} in one study",
            where=f"scans {rows[0]['scan_id']} and {odd['scan_id']}",
            remedy="Give each kind a study of its own.",
        )
    return values[0]


def _quantiles(values: Array) -> dict[str, list[float]]:
    """Minimum, 10th percentile, median and maximum along each axis."""
    points = {"min": 0, "low": 10, "median": 50, "max": 100}
    return {name: [round(float(v), 4) for v in np.percentile(values, point, axis=0)] for name, point in points.items()}


def _scan_facts(scan: Scan, labels: LabelMap, unit: str) -> dict[str, Any]:
    first = np.asarray(scan.voxels[0], np.float32)
    low, high = np.percentile(first, (1, 99))
    masks = labels.masks()
    inside = scan.voxels[:, masks.any(axis=0)].astype(np.float32)
    stride = max(-(-inside.shape[1] // VOXELS_A_SCAN), 1)
    return {
        "zero_share": float((first == 0).mean()),
        "air_share": float((first < low + AIR * (high - low)).mean()),
        "sample": inside[:, ::stride],
        "organs": {
            organ: _organ_facts(mask, scan.spacing if scan.unit == unit else None)
            if organ in labels.annotated
            else None
            for organ, mask in zip(labels.organs, masks, strict=True)
        },
    }


def _organ_facts(mask: Array, spacing: Sequence[float] | None) -> dict[str, Any]:
    """Volume (where the spacing is known), bounding box and centre (as a share of each side) of one organ's mask."""
    count, box = int(np.count_nonzero(mask)), bounding_box(mask)
    if box is None:
        return {"voxels": 0}
    weights = [mask.sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
    return {
        "voxels": count,
        "share": count / mask.size,
        "volume": None if spacing is None else count * float(np.prod(spacing)),
        "box": [span.stop - span.start for span in box],
        "centre": [
            float(np.average(np.arange(n) + 0.5, weights=w) / n) for n, w in zip(mask.shape, weights, strict=True)
        ],
    }


def _organ(found: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    annotated = [fact for fact in found if fact is not None]
    present = [fact for fact in annotated if fact["voxels"]]
    summary: dict[str, Any] = {"annotated": len(annotated), "present": len(present)}
    if present:
        for name in ("voxels", "share", "volume"):
            counted = [fact[name] for fact in present if fact[name] is not None]
            if counted:
                summary[name] = [float(f"{v:.6g}") for v in np.percentile(counted, (0, 2.5, 50, 97.5, 100))]
        summary["box"] = _quantiles(np.array([fact["box"] for fact in present]))
        summary["centre"] = _quantiles(np.array([fact["centre"] for fact in present]))
    return summary


def _intensity(samples: Sequence[Array]) -> list[dict[str, float]]:
    """Intensity inside organs, for each channel; every scan weighs the same up to its sample."""
    pooled = np.concatenate(samples, axis=1)
    if pooled.shape[1] == 0:
        raise InputError(
            "no organ has a voxel in any development scan", remedy="Check the organs' values in the study."
        )
    result = []
    for channel in pooled:
        low, high = np.percentile(channel, (0.5, 99.5))
        kept = np.clip(channel, low, high)
        result.append(
            {
                "low": round(float(low), 4),
                "high": round(float(high), 4),
                "mean": round(float(kept.mean(dtype=np.float64)), 4),
                "deviation": round(float(kept.std(dtype=np.float64)), 4),
            }
        )
    return result
