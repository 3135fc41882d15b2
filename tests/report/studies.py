"""Small studies as all stages leave them: real ingestion, plans and figures; only training and prediction are drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import yaml

from pipeline import evaluate, ingest
from pipeline import plan as planning
from pipeline.core.files import read_table, write_json, write_table
from pipeline.core.journal import Journal
from pipeline.core.labels import LabelMap
from pipeline.core.manifest import load_manifest, manifest_path
from pipeline.core.paths import StudyPaths
from pipeline.core.shards import write_shards
from pipeline.core.splits import by_part, read_splits
from pipeline.core.study import Study, data_root, load_study
from pipeline.formats.store import read_labels, write_labels
from pipeline.inference.champion import Champion, Member

SHAPE = (24, 20, 9)
AFFINE = np.diag([1.0, 1.5, 3.0, 1.0])
NAME = "drawn"


def make(
    root: Path, *, patients: int = 10, flat: bool = False, masks: bool = True, **config: Any
) -> tuple[Study, StudyPaths]:
    """Ingest and plan a study of two organs; patient 0 has two scans, the last scan has no mask, one row is bad."""
    values: dict[str, Any] = {
        "title": "Drawn <organs> & more",
        "description": "Boxes in noise.",
        "modality": "mri",
        "organs": {"liver": {}, "lesion": {"lesions": True}},
        "data_root": "source",
        "ingest": {"shards": 2},
        "models": {"good": {"network": "unet"}, "poor": {"network": "unet"}},
        "budget": {"steps": 20},
        "evaluate": {"bootstrap": 100, "subgroups": ["sex"], "site": "site", "dice_limit": 0.9},
        **config,
    }
    for folder in ("configs", "data_manifests", "source"):
        (root / folder).mkdir(parents=True)
    (root / "configs" / f"{NAME}.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    study, paths = load_study(NAME, root), StudyPaths(NAME, root)
    rows = [_write(root / "source", study, index, flat) for index in range(patients + 1)]
    rows[0] |= {"patient_id": "secret-patient-1"}
    for row in rows[-1:] if masks else rows:
        row["mask"] = ""
    rows.append({**rows[1], "scan_id": "bad", "patient_id": "other", "image": "absent.nii"})
    write_table(manifest_path(NAME, root), rows, list(rows[0]))
    manifest = load_manifest(manifest_path(NAME, root), study)
    write_shards(paths, study, manifest, data_root(study, root))
    for shard in range(study.ingest.shards):
        ingest.run_shard(study, paths, shard)
    ingest.gather(study, paths)
    if not study.model:
        planning.run(study, paths)
    return study, paths


def _write(folder: Path, study: Study, index: int, flat: bool) -> dict[str, str]:
    """One scan and its mask as NIfTI; each fifth has no lesion."""
    draw = np.random.default_rng(index)
    shape = (*SHAPE[:2], 1) if flat else SHAPE
    masks = np.zeros(shape, np.uint8)
    start = 3 + index % 3
    masks[start : start + 12, 3:15, 0 if flat else 2 : 8] = 1
    if len(study.organs) > 1 and index % 5 != 3:
        masks[start + 4 : start + 8, 6:10, 0 if flat else 3 : 6] = 2
    voxels = draw.normal(50, 5, shape) + 60 * (masks == 1) + 110 * (masks == 2)
    nib.save(nib.Nifti1Image(voxels.astype(np.int16), AFFINE), folder / f"s{index:02d}.nii")
    nib.save(nib.Nifti1Image(masks, AFFINE), folder / f"s{index:02d}_mask.nii")
    return {
        "scan_id": f"s{index:02d}",
        "patient_id": f"secret-patient-{index}",
        "image": f"s{index:02d}.nii",
        "mask": f"s{index:02d}_mask.nii",
        "sex": "FM"[index % 2],
        "site": ("north", "south")[index % 3 == 0],
        "surname": f"Nobody{index}",
    }


def predict(study: Study, paths: StudyPaths, part: str, model: str, shift: int) -> None:
    """Masks moved by ``shift`` voxels as a model's predictions."""
    rows = read_table(paths.scans_csv)
    labelled = [row for row in rows if row["labelled"] == "1"]
    chosen = by_part(labelled, read_splits(paths.splits), part) if paths.splits.is_file() else labelled  # type: ignore[arg-type]
    for position, row in enumerate(chosen):
        truth = read_labels(paths.mask(row["shard"], row["scan_id"]))
        moved = LabelMap(
            np.roll(truth.data, shift + position % 2, axis=0), truth.affine, truth.organs, False, truth.annotated
        )  # fmt: skip
        write_labels(paths.predictions(part, model) / f"{row['scan_id']}.nii.gz", moved)
    table = [{"scan_id": row["scan_id"], "model": model, "status": "ok", "seconds": "0.1"} for row in chosen]
    write_table(paths.predictions(part, model) / "predictions.csv", table, ("scan_id", "model", "status", "seconds"))


def choose(study: Study, paths: StudyPaths) -> None:
    """A champion of one member with its evidence."""
    interval = {"low": -0.2, "high": -0.1}
    candidates = [
        {"models": ["good"], "dice": 0.9, "low": 0.8, "high": 0.95, "against_best": None, "chosen": True},
        {"models": ["poor"], "dice": 0.7, "low": 0.6, "high": 0.8, "against_best": {"difference": -0.15, **interval}},
    ]
    steps = [{"organ": "liver", "step": "fill_holes", "difference": 0.01, "low": 0.001, "high": 0.02, "kept": True}]
    Champion(
        name="good",
        study=NAME,
        modality=study.modality,
        organs=list(study.organs),
        overlapping=False,
        colors=study.colors(),
        members=[Member(model="good", fold=0, folder="members/good-fold0")],
        files={"members/good-fold0/weights.safetensors": "ab" * 32},
        evidence={"rule": "the best", "patients": 3, "scans": 3, "candidates": candidates, "postprocessing": steps},
    ).write(paths.champion_yaml)
    figures = {
        **{"bad": 2, "good": 6, "sensitivity": 0.5, "specificity": None, "auroc": 0.875, "dice_limit": 0.9},
        **{"predicted": 8, "covered": 0.875, "rests_on": {"folds": "Dice with the reader"}},
    }
    write_json(paths.champion / "quality.json", {"figures": figures})


def train(paths: StudyPaths, model: str) -> None:
    """A journal that was resumed once, with a repeated step."""
    with Journal(paths.model(model, 0) / "journal.jsonl") as journal:
        for at in (0, 10):
            start = {"device": "cpu", "threads": 1, "precision": "fp32", "steps": 20, "parameters": 1234}
            journal.write("start", model=model, fold=0, resumed_at=at, versions={"torch": "2"}, **start)
            for step in range(at + 1, 21, 3):
                journal.write("step", step=step, loss=2.0 / step, learning_rate=0.1, images_per_s=3.0)
            journal.write("validation", step=at + 10, dice={"liver": 0.5, "lesion": None}, mean=0.5)
        journal.write("end", step=20, seconds=12.5, reason="done")


def finish(study: Study, paths: StudyPaths) -> None:
    """All that follows the plan, up to the figures."""
    parts = ("test",) if study.model else ("oof", "test")
    for model, shift in (("good", 0), ("poor", 3)):
        if model in study.models and not study.model:
            train(paths, model)
            for part in parts:
                predict(study, paths, part, model, shift + 2 * (part == "oof"))
    predict(study, paths, "test", "champion", 0)
    choose(study, paths)
    judge(paths)
    for part in parts:
        for shard in range(study.ingest.shards):
            evaluate.run_shard(study, paths, part, shard)  # type: ignore[arg-type]
        evaluate.gather(study, paths, part)  # type: ignore[arg-type]


def judge(paths: StudyPaths) -> None:
    """Verdicts on the champion's predictions, the first of them bad."""
    names = [row["scan_id"] for row in read_table(paths.predictions("test", "champion") / "predictions.csv")]
    rows = [
        {"scan_id": name, "organ": "liver", "verdict": "good" if index else "fail", "risk": 0.5 if index else 3.0,
         "reasons": "" if index else "its size is unusual"}
        for index, name in enumerate(names)
    ]  # fmt: skip
    columns = ("scan_id", "organ", "verdict", "risk", "dice", "dice_low", "dice_high", "reasons")
    write_table(paths.predictions("test", "champion") / "quality.csv", rows, columns)


def specs(page: str) -> dict[str, Any]:
    """The charts of a page by name."""
    import re

    found = re.findall(r'<script type="application/json" id="spec-([^"]+)">(.*?)</script>', page, re.DOTALL)
    return {name: json.loads(body) for name, body in found}
