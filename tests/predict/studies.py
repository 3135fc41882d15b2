"""A study on disk, as it is after training: phantoms of two blobs, and networks that find them by their brightness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.files import write_table
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.plan import Plan
from pipeline.core.scan import FRONTAL_AFFINE, Grid, Scan
from pipeline.core.study import Study
from pipeline.formats.store import write_labels, write_scan
from tests.predict.plans import make_plan

ORGANS = ("left", "right")
SCAN_COLUMNS = ("scan_id", "patient_id", "shard", "split", "fold", "labelled", "modality", "spacing_source")


def make_study(**changes: Any) -> Study:
    """A study with two organs that mirror each other."""
    values: dict[str, Any] = {
        "modality": "mri",
        "organs": {"left": {"mirror": "right"}, "right": {"mirror": "left"}},
        "models": {"unet": {}},
        "split": {"folds": 1},
        "evaluate": {"bootstrap": 200},
    }
    return Study.model_validate(values | changes)


def phantom(seed: int, flat: bool = False) -> tuple[Scan, dict[str, np.ndarray]]:
    """A scan with a bright and a dark blob, and their masks, on an oblique grid stored in another axis order."""
    generator = np.random.default_rng(seed)
    shape = (40, 36, 1) if flat else (20, 18, 16)
    place = np.indices(shape).astype(float)
    centre = np.array(shape) / 2 + generator.uniform(-1, 1, 3) * [2, 2, 0 if flat else 1]
    aside = np.array([shape[0] / 4, 0, 0])
    masks = {}
    for organ, where, radius in (("left", centre - aside, 4.0), ("right", centre + aside, 3.2)):
        distance = np.sqrt(((place - (where if not flat else where * [1, 1, 0])[:, None, None, None]) ** 2).sum(0))
        masks[organ] = distance < radius * (1.6 if flat else 1)
    voxels = generator.normal(0, 4, shape)
    voxels[masks["left"]] += 100
    voxels[masks["right"]] -= 100
    if flat:
        affine = FRONTAL_AFFINE @ np.diag([0.5, 0.7, 1, 1])
        return Scan(voxels[None].astype(np.float32), affine, "xray", "patient"), masks
    angle = 0.2
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.0, 1.2, 2.0])
    affine[:3, 3] = [-12, 7, 30]
    stored = Grid(shape, affine).permuted((2, 0, 1), (True, False, True))
    scan = Scan(voxels[None].astype(np.float32), affine, "mri", "patient", stored=stored)
    return scan, masks


def write_study(root: Path, study: Study, *, patients: int = 6, flat: bool = False) -> StudyPaths:
    """Write scans, masks, splits: the last two patients are the test's, one scan more has no mask."""
    paths = StudyPaths("small", root)
    rows, splits = [], []
    for number in range(patients + 1):
        name, patient = f"s{number}", f"p{number}"
        scan, masks = phantom(number, flat)
        write_scan(paths.scan(number % 2, name), scan)
        labelled = number < patients
        if labelled:
            labels = LabelMap.from_masks(masks, scan.affine, ORGANS, overlapping=study.overlapping)
            write_labels(paths.mask(number % 2, name), labels)
        rows.append(
            {"scan_id": name, "patient_id": patient, "shard": number % 2, "labelled": int(labelled),
             "modality": scan.modality, "spacing_source": "patient"}
        )  # fmt: skip
        test = patients - 2 <= number < patients
        folds = study.split.folds
        fold = "" if test or (folds == 1 and number % 2) else number % folds
        splits.append(
            {"patient_id": patient, "split": "test" if test else "development", "fold": fold, "origin": "drawn"}
        )
    write_table(paths.scans_csv, rows, SCAN_COLUMNS)
    write_table(paths.splits, splits, ("patient_id", "split", "fold", "origin"))
    return paths


def plan_for(study: Study, model: str, flat: bool = False, **changes: Any) -> Plan:
    """A plan whose prepared values are the scan's own, so that brightness can be recognised."""
    values: dict[str, Any] = {
        "model": model,
        "modality": "xray" if flat else "mri",
        "overlapping": study.overlapping,
        "spatial_dims": 2 if flat else 3,
        "patch": [32, 32] if flat else [16, 16, 16],
        "network": {"name": "unet", "features": [4, 4], "norm": "none", "encoder_convs": 1, "decoder_convs": 1},
    }
    return make_plan(**values | changes)
