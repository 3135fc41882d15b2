"""A small study of drawn masks: two models, one good and one poor, predicted by nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.files import write_table
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.shards import shard_of
from pipeline.core.splits import COLUMNS
from pipeline.core.study import Study, parse_study
from pipeline.formats.store import write_labels

SHAPE = (24, 20, 10)
SPACING = (1.0, 1.5, 3.0)
AFFINE = np.diag([*SPACING, 1.0])
ORGANS = ("liver", "lesion")


def box(*ranges: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(*r) for r in ranges)] = True
    return mask


def labels(masks: dict[str, np.ndarray], annotated: frozenset[str] = frozenset(ORGANS)) -> LabelMap:
    return LabelMap.from_masks(
        {"liver": np.zeros(SHAPE, bool), **masks}, AFFINE, ORGANS, overlapping=False, annotated=annotated
    )


@dataclass
class Drawn:
    """The study, its places, and the masks that were drawn."""

    study: Study
    paths: StudyPaths
    rows: list[dict[str, Any]]
    organs = ORGANS
    spacing = SPACING

    @staticmethod
    def labels(masks: dict[str, np.ndarray], annotated: frozenset[str] = frozenset(ORGANS)) -> LabelMap:
        """A label map of these masks."""
        return labels(masks, annotated)

    @staticmethod
    def truth(number: int) -> dict[str, np.ndarray]:
        """The masks of scan ``number``: two scans a patient."""
        return draw(number)

    @staticmethod
    def shifted(masks: dict[str, np.ndarray], shift: int) -> dict[str, np.ndarray]:
        """What a model predicts that is off by ``shift`` voxels."""
        return predict(masks, shift)


def draw(number: int) -> dict[str, np.ndarray]:
    """Scan 3 of each five has no lesion."""
    start = 3 + number % 3
    masks = {"liver": box((start, start + 12), (3, 15), (2, 8))}
    if number % 5 != 3:
        masks["lesion"] = box((start + 4, start + 8), (6, 10), (3, 6))
    return masks


def predict(masks: dict[str, np.ndarray], shift: int) -> dict[str, np.ndarray]:
    return {organ: np.roll(mask, shift, axis=0) for organ, mask in masks.items()}


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Drawn]:
    """Make a study of ``patients`` with two scans each; patients 0, 1, 2 … are test, fold 0, fold 1, test …"""
    # Hundreds of small files are written, and no test here pulls the plug.
    monkeypatch.setattr("os.fsync", lambda descriptor: None)

    def build(patients: int = 12, **config: Any) -> Drawn:
        study = parse_study(
            {
                "modality": "mri",
                "organs": {"liver": {"tolerance": 3.0}, "lesion": {"lesions": True}},
                "models": ["good", "poor"],
                "split": {"folds": 2},
                "ingest": {"shards": 3},
                **config,
            },
            "drawn",
        )
        paths = StudyPaths("drawn", tmp_path)
        rows, splits = [], []
        for patient in range(patients):
            test = patient % 3 == 0
            name = f"p{patient:02d}"
            fold = "" if test else str(patient % 3 - 1)
            splits.append(
                {"patient_id": name, "split": "test" if test else "development", "fold": fold, "origin": "drawn"}
            )
            for scan in range(2):
                rows.append(_write_scan(study, paths, patient, scan, "test" if test else "oof"))
        columns = [*rows[0]]
        write_table(paths.scans_csv, rows, columns)
        write_table(paths.splits, splits, COLUMNS)
        return Drawn(study, paths, rows)

    return build


def _write_scan(study: Study, paths: StudyPaths, patient: int, scan: int, part: str) -> dict[str, Any]:
    scan_id, number = f"s{patient:02d}{'ab'[scan]}", patient * 2 + scan
    shard = shard_of(scan_id, study.ingest.shards)
    truth = draw(number)
    write_labels(paths.mask(shard, scan_id), labels(truth))
    for model, shift in (("good", 1), ("poor", 4)):
        write_labels(paths.predictions(part, model) / f"{scan_id}.nii.gz", labels(predict(truth, shift)))
    if part == "test":
        write_labels(paths.predictions(part, "champion") / f"{scan_id}.nii.gz", labels(predict(truth, 0)))
    return {
        "scan_id": scan_id,
        "patient_id": f"p{patient:02d}",
        "shard": shard,
        "split": "",
        "fold": "",
        "labelled": 1,
        "modality": "mri",
        **{f"size_{axis}": n for axis, n in zip("xyz", SHAPE, strict=True)},
        **{f"spacing_{axis}": s for axis, s in zip("xyz", SPACING, strict=True)},
        "spacing_source": "patient",
        "organs": ";".join(truth),
        "annotated": ";".join(ORGANS),
        "volume_liver": "",
        "volume_lesion": "",
        "sex": "FM"[patient % 2],
        "hospital": "north" if patient % 6 else "south",
    }
