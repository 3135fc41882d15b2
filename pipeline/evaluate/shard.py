"""One shard of a part: every model's prediction of every labelled scan, measured against its mask."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.core.columns import scan_columns
from pipeline.core.errors import InputError
from pipeline.core.files import Cells, read_table, write_table
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.say import Say, quiet
from pipeline.core.splits import Assignment, Part, by_part, read_splits
from pipeline.core.study import Study
from pipeline.core.units import length_unit
from pipeline.evaluate.baseline import Baseline
from pipeline.evaluate.rows import BASELINE, measured_rows, missing_rows, organ_settings, study_columns
from pipeline.formats.store import read_labels
from pipeline.metrics.overlap import mean_iou_over_thresholds


def models_of(study: Study, part: Part) -> tuple[str, ...]:
    """The models that a part measures: the study's own, and in the test the champion."""
    if study.model:
        return ("champion",)
    return (*study.models, "champion") if part == "test" else tuple(study.models)


def known_splits(study: Study, paths: StudyPaths) -> dict[str, Assignment]:
    """Patient → assignment; empty for a study that applies a trained model and has no split."""
    if study.model and not paths.splits.is_file():
        return {}
    return read_splits(paths.splits)


def measured_scans(
    study: Study, rows: list[dict[str, str]], splits: Mapping[str, Assignment], part: Part
) -> list[dict[str, str]]:
    """Rows of ``scans.csv`` with a mask that a part measures; without a split all of them are the test."""
    labelled = [row for row in rows if row["labelled"] == "1"]
    if study.model and not splits:
        return labelled if part == "test" else []
    return by_part([row for row in labelled if row["patient_id"] in splits], splits, part)


def extra_columns(study: Study, rows: list[dict[str, str]]) -> list[str]:
    """The manifest's own columns in ``scans.csv``."""
    own = set(scan_columns(study.organs))
    return [column for column in (rows[0] if rows else {}) if column not in own]


def run_shard(study: Study, paths: StudyPaths, part: Part, shard: int, say: Say = quiet) -> list[Cells]:
    """Measure the scans of one shard and write ``metrics/<part>/shards/<shard>.csv``.

    A scan that a model has no usable prediction for gets rows that say so, and stops no other.

    Args:
        study: The study.
        paths: Its places.
        part: ``oof`` or ``test``.
        shard: Number of the shard.
        say: Takes a line of progress.

    Returns:
        The rows written.

    Raises:
        InputError: The scans were not ingested, or a model made no predictions at all.
    """
    table = read_table(paths.scans_csv)
    splits = known_splits(study, paths)
    scans = [row for row in measured_scans(study, table, splits, part) if row["shard"] == str(shard)]
    extra = extra_columns(study, table)
    models = models_of(study, part)
    for model in models if scans else ():
        if not paths.predictions(part, model).is_dir():
            raise InputError(
                f"model {model!r} has no {part} predictions",
                where=str(paths.predictions(part, model)),
                remedy=f"Run `organseg predict --study {paths.study} --part {part} --model {model}` first.",
            )
    baseline = None if study.model else Baseline(study, paths, part, table, splits)
    rows: list[Cells] = []
    for position, scan in enumerate(sorted(scans, key=lambda row: row["scan_id"]), 1):
        rows += _measure_scan(study, paths, part, scan, models, baseline, extra, say)
        say(f"{position}/{len(scans)} scans measured")
    write_table(paths.metrics(part) / "shards" / f"{shard}.csv", rows, study_columns(study, extra))
    return rows


def _measure_scan(
    study: Study,
    paths: StudyPaths,
    part: Part,
    scan: Mapping[str, str],
    models: tuple[str, ...],
    baseline: Baseline | None,
    extra: list[str],
    say: Say,
) -> list[Cells]:
    scan_id, patient = scan["scan_id"], scan["patient_id"]
    reference = read_labels(paths.mask(scan["shard"], scan_id))
    settings = organ_settings(study, length_unit(scan["spacing_source"]))
    spacing = [float(scan[f"spacing_{axis}"]) for axis in "xyz"]
    ratio = study.evaluate.cardiothoracic_ratio
    head = {"scan_id": scan_id, "patient_id": patient, **{column: scan[column] for column in extra}}
    annotated = [organ for organ in reference.organs if organ in reference.annotated]
    rows: list[Cells] = []
    for model in models:
        try:
            prediction = _prediction(paths, part, model, scan_id, reference)
        except InputError as error:
            say(f"{scan_id}, {model}: {error.what}")
            flat = reference.data.shape[2] == 1
            rows += missing_rows({**head, "model": model}, annotated, settings, flat=flat)
            continue
        rows += measured_rows(
            {**head, "model": model},
            prediction,
            reference,
            spacing,
            settings,
            ratio=ratio,
            mean_ious=_mean_ious(paths, part, model, scan_id, reference),
        )
    guess = baseline.predict(patient, reference) if baseline else None
    if guess is not None:
        rows += measured_rows({**head, "model": BASELINE}, guess, reference, spacing, settings, ratio=ratio)
    return rows


def _mean_ious(paths: StudyPaths, part: Part, model: str, scan_id: str, reference: LabelMap) -> dict[str, float]:
    """Mean IoU over thresholds of each annotated organ; empty where no probabilities were kept (255 steps)."""
    file = paths.predictions(part, model) / "probabilities" / f"{scan_id}.npz"
    if not file.is_file():
        return {}
    with np.load(file, allow_pickle=False) as kept:
        probabilities = kept["probabilities"]
    first = len(probabilities) - len(reference.organs)  # the background comes first where organs are exclusive
    if probabilities.shape[1:] != reference.data.shape or first not in {0, 1}:
        return {}
    ignored = reference.ignored()
    return {
        organ: mean_iou_over_thresholds(
            np.where(ignored, np.float32(0), probabilities[first + index] / np.float32(255)), reference.mask(organ)
        )
        for index, organ in enumerate(reference.organs)
        if organ in reference.annotated
    }


def _prediction(paths: StudyPaths, part: Part, model: str, scan_id: str, reference: LabelMap) -> LabelMap:
    prediction = read_labels(paths.predictions(part, model) / f"{scan_id}.nii.gz")
    if (prediction.organs, prediction.overlapping) != (reference.organs, reference.overlapping):
        raise InputError("the prediction names other organs than the mask", remedy="Predict again.")
    if not prediction.grid.same_place(reference.grid):
        raise InputError("the prediction lies on another grid than the mask", remedy="Predict again.")
    return prediction
