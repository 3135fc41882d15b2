"""The stage ``select``: chooses the champion from out-of-fold results alone, and packs it for use elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.files import read_json, write_json, write_table
from pipeline.core.names import within
from pipeline.core.paths import StudyPaths
from pipeline.core.plan import Plan
from pipeline.core.say import Say, quiet
from pipeline.core.scan import Array
from pipeline.core.study import Study
from pipeline.inference.champion import (
    FILE,
    MODEL,
    ONNX,
    QUALITY,
    WEIGHTS,
    Backend,
    BackendName,
    Champion,
    Member,
    Reading,
    check_fits,
    member_plan,
    read_champion,
)
from pipeline.quality.calibration import calibrate
from pipeline.quality.evidence import Evidence
from pipeline.quality.performance import performance_text
from pipeline.quality.reference import QualityReference
from pipeline.select import backends
from pipeline.select.bundle import write_bundle
from pipeline.select.card import write_card
from pipeline.select.choice import RULE, choose_models, choose_steps

SAMPLES = 3  # scans that backends are compared on


def run(study: Study, paths: StudyPaths, *, threads: int | None = None, say: Say = quiet) -> None:
    """Choose the champion and write ``champion/`` and ``champion.yaml``.

    A study that names a ``model`` and trains nothing takes that champion over.

    Args:
        study: The study.
        paths: Its places.
        threads: Processor threads; by default what the process may use.
        say: Takes a line of progress.

    Raises:
        InputError: Predictions or models are missing.
    """
    if study.model is not None:
        champion = _adopt(study, paths, study.model)
        say(f"champion: {champion.name}, taken from {study.model}")
        champion.write(paths.champion_yaml)
        return
    import torch

    from pipeline.tracking import deliver_champion

    if threads is not None:
        torch.set_num_threads(threads)
    evidence = Evidence(study, paths)
    models, candidates = choose_models(study, evidence, say)
    steps, trials = choose_steps(study, evidence, models, say)
    members = [Member(model=m, fold=f, folder=f"members/{m}-fold{f}") for m in models for f in range(study.split.folds)]
    _start_folder(paths.champion)
    backend = _pack(paths, evidence, members, threads, say)
    plans = [member_plan(within(paths.champion, member.folder)) for member in members]
    champion = _described(
        study,
        " + ".join(models),
        paths.study,
        members=members,
        mirror=any(plan.mirror_axes for plan in plans),
        postprocessing=steps,
        backend=backend,
        evidence={
            "rule": RULE,
            "patients": evidence.patients,
            "scans": len(evidence.scans),
            "candidates": candidates,
            "postprocessing": trials,
        },
    )
    quality, scores = calibrate(study, paths, evidence, models, steps)
    _write(study, paths, champion, plans, quality, scores)
    say(performance_text(quality.figures))
    say(f"champion: {champion.name}, {len(members)} network{'s' if len(members) > 1 else ''}")
    deliver_champion(study, paths, say)


def _described(study: Study, name: str, study_name: str, **chosen: Any) -> Champion:
    """The champion with what is known of its study."""
    return Champion(
        name=name,
        study=study_name,
        modality=study.modality,
        organs=list(study.organ_names()),
        overlapping=study.overlapping,
        colors=study.colors(),
        values=study.values(),
        codes={organ: about.snomed for organ, about in study.organs.items() if about.snomed},
        mirror_pairs=study.mirror_pairs(),
        ingest=Reading.of(study.ingest),
        **chosen,
    )


def _write(
    study: Study,
    paths: StudyPaths,
    champion: Champion,
    plans: Sequence[Plan],
    quality: QualityReference,
    scores: Iterable[tuple[str, float]],
) -> None:
    """Write what lies in the champion's folder beside its members; its description last."""
    rows = [{"scan_id": name, "dice": f"{dice:.6f}"} for name, dice in sorted(scores)]
    write_table(paths.champion / "oof.csv", rows, ("scan_id", "dice"))
    write_json(paths.champion / QUALITY, quality.model_dump(mode="json"))
    fingerprint = read_json(paths.fingerprint) if paths.fingerprint.is_file() else None
    if fingerprint is not None:
        write_json(paths.champion / "fingerprint.json", fingerprint)
    write_card(paths.champion / "card.md", study, champion, plans, fingerprint, quality.figures)
    write_bundle(paths.champion, champion, plans, fingerprint)
    champion = champion.sealed(paths.champion)
    champion.write(paths.champion / FILE)
    champion.write(paths.champion_yaml)


def _start_folder(folder: Path) -> None:
    """An empty folder, without what an earlier choice left."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def _adopt(study: Study, paths: StudyPaths, model: str) -> Champion:
    """Take over a champion that was trained elsewhere."""
    source = Path(model)
    if model.startswith("models:/"):
        from pipeline.tracking import download_model

        source = download_model(model)
    champion = read_champion(source)
    check_fits(study, champion)
    _start_folder(paths.champion)
    shutil.copytree(source, paths.champion, dirs_exist_ok=True)
    return champion


def _pack(
    paths: StudyPaths,
    evidence: Evidence,
    members: Sequence[Member],
    threads: int | None,
    say: Say,
) -> Backend:
    """Copy each member's weights and facts, export it to ONNX, and choose the backend that is to run them."""
    import torch

    from pipeline.inference.model_files import load_model
    from pipeline.inference.sliding_window import torch_forward
    from pipeline.select.onnx_export import write_onnx

    measured: dict[str, dict[BackendName, tuple[float, float]]] = {}
    for member in members:
        source, target = paths.model(member.model, member.fold), within(paths.champion, member.folder)
        target.mkdir(parents=True, exist_ok=True)
        for file in (WEIGHTS, MODEL):
            shutil.copyfile(source / file, target / file)
        network, plan, _ = load_model(target)
        write_onnx(target / ONNX, network, plan)
        windows = sample_windows(evidence, plan)
        measured[member.folder] = backends.compare(target, torch_forward(network, plan.overlapping), windows, threads)
    name = backends.choose(measured, say)
    gpu: Any = "bf16" if torch.cuda.is_available() else None
    apart = {folder: 0.0 if name == "torch" else float(f"{one[name][0]:.2g}") for folder, one in measured.items()}
    return Backend(name=name, gpu=gpu, tolerance=backends.TOLERANCE, parity=apart)


def sample_windows(evidence: Evidence, plan: Plan) -> list[Array]:
    """The middle window of a few development scans, prepared for a network: ``(C, *patch)`` each."""
    from pipeline.formats.store import read_scan
    from pipeline.imaging.preprocessing import prepare

    windows = []
    for scan in evidence.scans[:SAMPLES]:
        image = prepare(read_scan(evidence.paths.scan(scan.shard, scan.scan_id)), plan).image
        if plan.spatial_dims == 2:
            across = 2 if plan.slice_axis is None else plan.slice_axis
            image = np.take(image, image.shape[1 + across] // 2, axis=1 + across)
        windows.append(_middle(image, plan.patch))
    return windows


def _middle(image: Array, patch: Sequence[int]) -> Array:
    """The middle ``patch`` of ``(C, …)``, with zeros where the image is smaller."""
    sides = list(zip(image.shape[1:], patch, strict=True))
    first = [max(size - wanted, 0) // 2 for size, wanted in sides]
    before = [max(wanted - size, 0) // 2 for size, wanted in sides]
    cut = image[(slice(None), *(slice(start, start + wanted) for start, wanted in zip(first, patch, strict=True)))]
    after = [max(wanted - size, 0) - less for (size, wanted), less in zip(sides, before, strict=True)]
    return np.pad(cut, [(0, 0), *zip(before, after, strict=True)])
