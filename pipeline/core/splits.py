"""Who is trained on, who validates, who is kept for the test: by patient, never by file."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.core.errors import InputError
from pipeline.core.files import read_table

Part = Literal["oof", "test"]
COLUMNS = ("patient_id", "split", "fold", "origin")


@dataclass(frozen=True)
class Assignment:
    """Where one patient stands.

    Attributes:
        split: ``test`` or ``development``.
        fold: The fold that this patient validates, or ``None``: it is in the test, or with one fold it always trains.
        origin: ``manifest`` or ``drawn``.
    """

    split: Literal["test", "development"]
    fold: int | None
    origin: Literal["manifest", "drawn"]


def read_splits(path: Path) -> dict[str, Assignment]:
    """Read ``splits.csv``: patient → assignment."""
    splits = {}
    for row in read_table(path):
        fold = int(row["fold"]) if row["fold"] else None
        splits[row["patient_id"]] = Assignment(row["split"], fold, row["origin"])  # type: ignore[arg-type]
    return splits


def draw_splits(
    patients: Mapping[str, tuple[str, int | None, str]],
    *,
    test_fraction: float,
    folds: int,
    validation_fraction: float,
    seed: int,
) -> dict[str, Assignment]:
    """Split patients into test and folds, stratified, seeded, and stable as patients come and go.

    Args:
        patients: Patient → (split given by the manifest or empty, fold given or ``None``, stratum such as the organs
            that the patient has). Patients of one stratum are spread evenly over the parts.
        test_fraction: Share of patients for the test, where the manifest gives no split.
        folds: Folds of the development patients; 1 is a plain validation split.
        validation_fraction: Share of development patients that validate, where ``folds`` is 1.
        seed: Seed of the draw.

    Raises:
        InputError: Too few patients to have one in each part.
    """
    test = {p for p, (split, _, _) in patients.items() if split == "test"}
    free = [p for p, (split, fold, _) in patients.items() if not split and fold is None]
    if not test:
        # A manifest that fixes the test set is not drawn from a second time.
        test = set(_spread(free, patients, seed, "test", test_fraction))
    development = [p for p in patients if p not in test]
    fixed = {p: fold for p in development if (fold := patients[p][1]) is not None}
    open_ = [p for p in development if p not in fixed]
    validates: dict[str, int] = dict(fixed)
    if folds == 1:
        if not fixed:
            validates |= dict.fromkeys(_spread(open_, patients, seed, "fold", validation_fraction), 0)
    else:
        for position, patient in enumerate(_ordered(open_, patients, seed, "fold")):
            validates[patient] = position % folds
    needed = max(folds, 2)
    if len(development) < needed or len(set(validates.values())) < folds or len(validates) == len(development) < 2:
        raise InputError(
            f"{len(development)} development patients are too few for {folds} fold{'s' if folds > 1 else ''}",
            remedy="Add patients, or lower split.folds or split.test_fraction.",
        )
    given = {p for p, (split, fold, _) in patients.items() if split or fold is not None}
    return {
        p: Assignment("test" if p in test else "development", validates.get(p), "manifest" if p in given else "drawn")
        for p in sorted(patients)
    }


def _ordered(
    names: Iterable[str], patients: Mapping[str, tuple[str, int | None, str]], seed: int, use: str
) -> list[str]:
    """Patients by stratum, and inside a stratum in an order drawn from the seed."""

    def key(name: str) -> tuple[str, str]:
        return patients[name][2], hashlib.sha256(f"{seed}\0{use}\0{name}".encode()).hexdigest()

    return sorted(names, key=key)


def _spread(
    names: Iterable[str], patients: Mapping[str, tuple[str, int | None, str]], seed: int, use: str, share: float
) -> list[str]:
    """Take ``share`` of the patients, evenly along the strata."""
    ordered = _ordered(names, patients, seed, use)
    count = round(len(ordered) * share)
    if share > 0 and len(ordered) > 1:
        count = max(count, 1)
    return [ordered[int((i + 0.5) * len(ordered) / count)] for i in range(count)]


def by_part(rows: Iterable[Mapping[str, str]], splits: Mapping[str, Assignment], part: Part) -> list[dict[str, str]]:
    """Rows of ``scans.csv`` that a part measures: ``test`` patients, or the development patients that validate."""
    chosen = []
    for row in rows:
        place = splits[row["patient_id"]]
        if (place.split == "test") if part == "test" else (place.split == "development" and place.fold is not None):
            chosen.append(dict(row))
    return chosen


def fold_sides(
    rows: Iterable[Mapping[str, str]], splits: Mapping[str, Assignment], fold: int
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Rows of ``scans.csv`` that a fold trains on, and those that it validates on. Unlabelled scans are in neither."""
    sides: dict[bool, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        place = splits[row["patient_id"]]
        if place.split == "development" and row["labelled"] == "1":
            sides[place.fold == fold].append(dict(row))
    return sides[False], sides[True]
