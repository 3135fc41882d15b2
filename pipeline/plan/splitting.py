"""Split the study's patients: the labelled ones are drawn, the others wait for the champion."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from pipeline.core.errors import InputError
from pipeline.core.splits import Assignment, draw_splits
from pipeline.core.study import Study


def split_patients(rows: Iterable[Mapping[str, str]], study: Study) -> dict[str, Assignment]:
    """Assign every patient of ``scans.csv``.

    Patients are stratified by the organs that their scans show and, where the study names one, by site. A patient
    without any labelled scan takes no part in the draw and belongs to development, unless the manifest says otherwise.

    Raises:
        InputError: Too few labelled patients.
    """
    scans: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for row in rows:
        scans[row["patient_id"]].append(row)
    labelled = {p: own for p, own in scans.items() if any(row["labelled"] == "1" for row in own)}
    if not labelled:
        raise InputError(
            "no scan has a mask",
            remedy="Name masks in the manifest, or apply a trained model with `model:` in the study's config.",
        )
    splits = draw_splits(
        {patient: (*_given(own), _stratum(own, study)) for patient, own in labelled.items()},
        test_fraction=study.split.test_fraction,
        folds=study.split.folds,
        validation_fraction=study.split.validation_fraction,
        seed=study.split.seed,
    )
    for patient in scans.keys() - labelled.keys():
        split, _ = _given(scans[patient])
        origin = "manifest" if split else "drawn"
        splits[patient] = Assignment("test" if split == "test" else "development", None, origin)  # type: ignore[arg-type]
    return dict(sorted(splits.items()))


def _given(rows: Iterable[Mapping[str, str]]) -> tuple[str, int | None]:
    """Split and fold that the manifest gives a patient in any of its rows."""
    split, fold = "", None
    for row in rows:
        split = row.get("split") or split
        fold = int(row["fold"]) if row.get("fold") else fold
    return split, fold


def _stratum(rows: Iterable[Mapping[str, str]], study: Study) -> str:
    organs: set[str] = set()
    sites: set[str] = set()
    for row in rows:
        organs.update(part for part in row["organs"].split(";") if part)
        if study.evaluate.site:
            sites.add(row.get(study.evaluate.site, ""))
    return "|".join([";".join(sorted(sites)), ";".join(sorted(organs))])
