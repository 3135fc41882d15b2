"""Studies on disk as they are after ingestion, for plan, preprocess and train: small phantoms of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.files import write_table
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.scan import FRONTAL_AFFINE, Scan
from pipeline.core.study import Study, parse_study
from pipeline.formats.store import write_labels, write_scan

COLUMNS = (
    "scan_id",
    "patient_id",
    "shard",
    "split",
    "fold",
    "labelled",
    "modality",
    "channels",
    "size_x",
    "size_y",
    "size_z",
    "spacing_x",
    "spacing_y",
    "spacing_z",
    "spacing_source",
    "organs",
    "annotated",
)
CHEST_ORGANS = ("left_lung", "right_lung", "heart")


def ball(shape: tuple[int, int, int], centre: Any, radii: Any) -> np.ndarray:
    """An ellipsoid in an array."""
    place = np.indices(shape).astype(float)
    apart = [(p - c) / r for p, c, r in zip(place, centre, radii, strict=True)]
    return sum(a**2 for a in apart) < 1  # type: ignore[return-value]


def chest_picture(seed: int) -> tuple[Scan, LabelMap]:
    """A radiograph with overlapping organs, wider than high."""
    draw = np.random.default_rng(seed)
    shape = (72, 60, 1)
    jitter = draw.uniform(-3, 3, (3, 2))
    masks = {
        "right_lung": ball(shape, (20 + jitter[0, 0], 28 + jitter[0, 1], 0), (11, 20, 1)),
        "left_lung": ball(shape, (52 + jitter[1, 0], 28 + jitter[1, 1], 0), (11, 20, 1)),
        "heart": ball(shape, (43 + jitter[2, 0], 40 + jitter[2, 1], 0), (11, 9, 1)),
    }
    picture = draw.normal(2000, 60, shape)
    picture[masks["right_lung"] | masks["left_lung"]] -= 900
    picture[masks["heart"]] += 700
    affine = FRONTAL_AFFINE @ np.diag([0.5, 0.5, 1, 1])
    scan = Scan(picture.clip(0).astype(np.uint16)[None], affine, "xray", "detector")
    return scan, LabelMap.from_masks(masks, affine, CHEST_ORGANS, overlapping=True)


def head_volume(seed: int, tumour: bool = True) -> tuple[Scan, LabelMap]:
    """A coarse-sliced head in air, with a core and a tumour that excludes it."""
    draw = np.random.default_rng(seed)
    shape = (30 + int(draw.integers(-2, 3)), 34, 12)
    head = ball(shape, (15, 17, 6), (13, 15, 5.5))
    masks = {"core": ball(shape, (12, 17, 6), (6, 7, 3.5))}
    if tumour:
        masks["tumour"] = ball(shape, draw.normal((20, 17, 6), 1), (4, 4, 2.5))
    volume = draw.normal(10, 3, shape) + 100 * head
    volume[masks["core"]] += 60
    if tumour:
        volume[masks["tumour"]] -= 60
    affine = np.diag([1.0, 1.0, 4.0, 1.0])
    affine[:3, 3] = [-15, -17, 20]
    scan = Scan((volume * draw.uniform(0.5, 20)).astype(np.float32)[None], affine, "mri", "patient")
    labels = LabelMap.from_masks(
        masks, affine, ("core", "tumour"), overlapping=False, annotated=frozenset(("core", "tumour"))
    )
    return scan, labels


def store(
    paths: StudyPaths, scans: dict[str, tuple[Scan, LabelMap | None]], patients: dict[str, str] | None = None
) -> None:
    """Write scans and ``scans.csv`` as ingestion does."""
    rows = []
    for scan_id, (scan, labels) in scans.items():
        write_scan(paths.scan(0, scan_id), scan)
        if labels is not None:
            write_labels(paths.mask(0, scan_id), labels, scan.unit)
        rows.append(
            {
                "scan_id": scan_id,
                "patient_id": (patients or {}).get(scan_id, f"p-{scan_id}"),
                "shard": 0,
                "labelled": int(labels is not None),
                "modality": scan.modality,
                "channels": scan.voxels.shape[0],
                **{f"size_{axis}": size for axis, size in zip("xyz", scan.shape, strict=True)},
                **{f"spacing_{axis}": gap for axis, gap in zip("xyz", scan.spacing, strict=True)},
                "spacing_source": scan.spacing_source,
                "organs": ";".join(labels.present()) if labels else "",
                "annotated": ";".join(sorted(labels.annotated)) if labels else "",
            }
        )
    write_table(paths.scans_csv, rows, COLUMNS)


def chest_config(**changes: Any) -> Study:
    """The config of a study of radiographs."""
    values = {
        "modality": "xray",
        "overlapping": True,
        "organs": {"left_lung": {"mirror": "right_lung"}, "right_lung": {"mirror": "left_lung"}, "heart": {}},
        "models": {"unet": {"plan": {"size": [48, 48], "network": {"features": [8, 16, 32]}}}},
        "budget": {"steps": 6},
    }
    return parse_study(values | changes, "chest")


def chest_study(root: Path, count: int = 8, **changes: Any) -> tuple[Study, StudyPaths]:
    """A study of radiographs, ingested."""
    paths = StudyPaths("chest", root)
    store(paths, {f"x{seed}": chest_picture(seed) for seed in range(count)})
    return chest_config(**changes), paths


def head_study(root: Path, count: int = 8, **changes: Any) -> tuple[Study, StudyPaths]:
    """A study of volumes, ingested."""
    paths = StudyPaths("head", root)
    values = {
        "modality": "mri",
        "organs": ["core", "tumour"],
        "models": {"unet": {"plan": {"network": {"features": [8, 16, 32]}}}},
        "budget": {"steps": 6},
    }
    store(paths, {f"h{seed}": head_volume(seed, seed % 3 != 0) for seed in range(count)})
    return parse_study(values | changes, "head"), paths
