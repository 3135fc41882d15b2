"""A small study on disk, as it is after each stage, made without training anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.files import write_json, write_table, write_text
from pipeline.core.journal import Journal
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.plan import Plan
from pipeline.core.scan import FRONTAL_AFFINE, Scan
from pipeline.core.study import Study, parse_study
from pipeline.formats.store import write_labels, write_scan
from pipeline.imaging.pictures import overlay
from pipeline.inference.champion import Backend, Champion, Member

ORGANS = ["left lung (upper)", "heart"]


def make_plan(model: str = "unet", **changes: Any) -> Plan:
    """A plan whose values need no meaning here."""
    values: dict[str, Any] = {
        "model": model,
        "modality": "xray",
        "organs": ORGANS,
        "overlapping": True,
        "in_channels": 1,
        "spatial_dims": 2,
        "size": [64, 64],
        "normalisation": {"name": "percentile_zscore"},
        "patch": [64, 64],
        "batch": 4,
        "network": {"name": "unet", "widths": [8, 16]},
        "loss": {"name": "dice_ce"},
        "augmentation": {"preset": "xray"},
        "optimiser": {"name": "adamw", "learning_rate": 0.001},
        "steps": 100,
        "validate_every": 50,
        "reasons": {"batch": "fits"},
    }
    return Plan.model_validate({**values, **changes})


def make_study(
    root: Path, name: str = "chest", folds: int = 2, write: bool = True, **changes: Any
) -> tuple[Study, StudyPaths]:
    """Config, manifest, scans.csv, splits.csv and plan of a study of six patients."""
    study = parse_study(
        {
            "title": "Chest radiographs",
            "modality": "xray",
            "overlapping": True,
            "organs": ORGANS,
            "models": ["unet"],
            "split": {"folds": folds},
            **changes,
        },
        "test",
    )
    paths = StudyPaths(name, root)
    if not write:
        return study, paths
    patients = [f"p{i}" for i in range(6)]
    rows: list[dict[str, Any]] = [
        {"scan_id": f"s{i}", "patient_id": p, "image": f"{i}.png", "labelled": "1", "shard": 0}
        for i, p in enumerate(patients)
    ]
    write_table(root / "data_manifests" / f"{name}.csv", rows, ("scan_id", "patient_id", "image"))
    write_table(paths.scans_csv, rows, ("scan_id", "patient_id", "shard", "labelled"))
    splits = [
        {
            "patient_id": p,
            "split": "test" if i < 2 else "development",
            "fold": "" if i < 2 else i % folds,
            "origin": "drawn",
        }
        for i, p in enumerate(patients)
    ]
    write_table(paths.splits, splits, ("patient_id", "split", "fold", "origin"))
    for model in study.models:
        make_plan(model).write(paths.plan(model))
    return study, paths


def write_journal(
    path: Path,
    steps: range = range(0, 100, 10),
    *,
    start: bool = True,
    end: bool = True,
    model: str = "unet",
    fold: int = 0,
) -> None:
    """Append a training's events."""
    with Journal(path) as journal:
        if start:
            journal.write(
                "start",
                model=model,
                fold=fold,
                device="cpu",
                threads=1,
                seed=0,
                steps=100,
                versions={"torch": "2.13.0"},
            )
        for step in steps:
            journal.write("step", step=step, loss=1 / (step + 1), learning_rate=1e-3, images_per_s=20.0 + step % 7)
            if step % 50 == 40:
                journal.write("validation", step=step, dice=dict.fromkeys(ORGANS, 0.8), mean=0.8)
        if end:
            journal.write("end", step=steps[-1], seconds=12.5, reason="steps done")


def write_overlays(study: Study, journal: Path, steps: range = range(50, 400, 50)) -> None:
    """What a training draws of two validation scans: masks that lie nearer and nearer to the reference."""
    colors, affine = study.colors(), FRONTAL_AFFINE
    (journal.parent / "pictures").mkdir(parents=True, exist_ok=True)
    with Journal(journal) as handle:
        for step in steps:
            for number in (2, 4):
                values, masks = picture(number)
                away = round(12 * (1 - step / steps.stop))
                moved = {organ: np.roll(mask, away, 0)[:, :, None] for organ, mask in masks.items()}
                scan = Scan(values[None, :, :, None], affine, "xray", "patient")
                found, reference = (
                    LabelMap.from_masks(one, affine, ORGANS, overlapping=True)
                    for one in (moved, {organ: mask[:, :, None] for organ, mask in masks.items()})
                )
                file = f"pictures/s{number}-{step:06d}.png"
                drawn = overlay(scan, found, reference, colors, size=256, title=f"step {step}")
                drawn.save(journal.parent / file)
                handle.write("picture", step=step, name=f"validation scans/s{number}", file=file)


def write_champion(study: Study, paths: StudyPaths, brightness: float = 2.0, note: str = "") -> None:
    """A champion whose network finds each organ by brightness, as ONNX, beside a card and evidence."""
    member = paths.champion / "members" / "unet-fold0"
    member.mkdir(parents=True, exist_ok=True)
    _write_onnx(member / "model.onnx", brightness)
    write_text(member / "weights.safetensors", "")
    plan = make_plan(spacing=[1.0, 1.0, 1.0], size=None, normalisation={"name": "percentile_zscore"})
    write_json(member / "model.json", {"plan": plan.model_dump(mode="json")})
    champion = Champion(
        name="unet",
        study=paths.study,
        modality="xray",
        organs=ORGANS,
        overlapping=True,
        colors=study.colors(),
        members=[Member(model="unet", fold=0, folder="members/unet-fold0")],
        backend=Backend(name="onnxruntime"),
        evidence={"note": note},
    )
    write_text(paths.champion / "card.md", "# Card\n\nNot a medical device.\n")
    champion = champion.sealed(paths.champion)
    champion.write(paths.champion / "champion.yaml")
    champion.write(paths.champion_yaml)


def _write_onnx(path: Path, brightness: float) -> None:
    """``(N, 1, X, Y)`` → ``(N, 2, X, Y)``: one organ is brighter than a value, the other darker than its negative."""
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.array([[[[1.0]]], [[[-1.0]]]], np.float32), "weights")
    bias = numpy_helper.from_array(np.array([-brightness / 2, -brightness / 2], np.float32), "bias")
    nodes = [
        helper.make_node("Conv", ["image", "weights", "bias"], ["score"]),
        helper.make_node("Sigmoid", ["score"], ["probabilities"]),
    ]
    shapes = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, "X", "Y"])
        for name, channels in (("image", 1), ("probabilities", 2))
    ]
    graph = helper.make_graph(nodes, "organs", shapes[:1], shapes[1:], [weights, bias])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())


def picture(seed: int = 0, size: int = 64) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """``(X, Y)`` grey values with a bright and a dark square, and their masks."""
    values = np.random.default_rng(seed).normal(0, 3, (size, size)).astype(np.float32)
    masks = {organ: np.zeros((size, size), bool) for organ in ORGANS}
    masks[ORGANS[0]][8:24, 10:30] = True
    masks[ORGANS[1]][40:56, 20 + seed % 5 : 44] = True
    values[masks[ORGANS[0]]] += 100
    values[masks[ORGANS[1]]] -= 100
    return values, masks


def write_scans(study: Study, paths: StudyPaths) -> None:
    """Scans, masks and the champion's test predictions of the study's patients."""
    affine = FRONTAL_AFFINE
    for number in range(6):
        values, masks = picture(number)
        scan = Scan(values[None, :, :, None], affine, "xray", "patient")
        labels = LabelMap.from_masks({o: m[:, :, None] for o, m in masks.items()}, affine, ORGANS, overlapping=True)
        write_scan(paths.scan(0, f"s{number}"), scan)
        write_labels(paths.mask(0, f"s{number}"), labels)
        if number < 2:
            write_labels(paths.predictions("test", "champion") / f"s{number}.nii.gz", labels)


def write_metrics(paths: StudyPaths, part: str, dice: dict[str, dict[str, float]]) -> None:
    """``per_scan.csv`` and ``summary.csv`` of a part.

    Args:
        paths: Places of the study.
        part: ``oof`` or ``test``.
        dice: Model → scan → Dice of its first organ; the second organ has 0.05 less.
    """
    rows = [
        {
            "scan_id": scan,
            "patient_id": scan.replace("s", "p"),
            "model": model,
            "organ": organ,
            "dice": value - 0.05 * k,
        }
        for model, scans in dice.items()
        for scan, value in scans.items()
        for k, organ in enumerate(ORGANS)
    ]
    write_table(paths.metrics(part) / "per_scan.csv", rows, ("scan_id", "patient_id", "model", "organ", "dice"))
    summary = []
    for model in dice:
        for organ in ["mean", *ORGANS]:
            own = [r["dice"] for r in rows if r["model"] == model and organ in ("mean", r["organ"])]
            mean = float(np.mean(own))  # type: ignore[arg-type]
            base = {"model": model, "organ": organ, "subgroup": "", "group": "", "n_patients": 2, "n_scans": 2}
            summary.append(
                {**base, "metric": "dice", "unit": "", "mean": mean, "low": mean - 0.02, "high": mean + 0.02}
            )
            summary.append({**base, "metric": "hd95", "unit": "mm", "mean": 3.5, "low": 2.0, "high": 5.0})
    columns = ("model", "organ", "metric", "unit", "subgroup", "group", "n_patients", "n_scans", "mean", "low", "high")
    write_table(paths.metrics(part) / "summary.csv", summary, columns)


def write_finished(study: Study, paths: StudyPaths) -> None:
    """All that a study's last stages deliver: a training, scans, a champion, figures and a report."""
    write_journal(paths.model("unet", 0) / "journal.jsonl")
    write_scans(study, paths)
    write_champion(study, paths)
    write_metrics(paths, "oof", {"unet": {f"s{i}": 0.8 for i in range(2, 6)}})
    write_metrics(paths, "test", {m: {"s0": 0.9, "s1": 0.7} for m in ("champion", "unet")})
    paths.report.write_text("<h1>Report</h1>")
