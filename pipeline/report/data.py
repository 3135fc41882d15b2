"""What a study left on disk, read once for the report; what is absent is ``None`` or empty."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.core.files import Cells, number, read_json, read_table
from pipeline.core.journal import read_journal
from pipeline.core.paths import StudyPaths
from pipeline.core.plan import Plan, read_plan
from pipeline.core.splits import Assignment, Part, read_splits
from pipeline.core.study import Study
from pipeline.inference.champion import Champion, read_champion
from pipeline.metrics.empty import CASE_WORDS, SHORT_RULE

Event = dict[str, Any]

CHAMPION = "champion"
MEAN = "mean"
#: Between two findings of one cell: a semicolon before the next one's short name.
_NEXT_FINDING = re.compile(r";(?=[a-z][a-z0-9_]*: )")


def mean_of(values: Sequence[float]) -> float:
    """Mean of the finite values; NaN where there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else math.nan


@dataclass(frozen=True)
class Figures:
    """What was measured on one part.

    Attributes:
        rows: ``per_scan.csv``.
        facts: ``summary.json``.
    """

    rows: list[Cells]
    facts: dict[str, Any]

    @property
    def baseline(self) -> str:
        """Name of the model that is the baseline."""
        return str(self.facts["baseline"])

    @cached_property
    def models(self) -> list[str]:
        """Models with figures, the champion first and the baseline last."""
        found = list(dict.fromkeys(row["model"] for row in self.rows))
        return sorted(found, key=lambda name: (name != CHAMPION, name == self.baseline))

    @cached_property
    def _index(self) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
        found: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
        for row in self.facts["summary"]:
            found[row["model"], row["organ"], row["metric"]].append(row)
        return found

    def summary(self, model: str, organ: str, metric: str) -> list[dict[str, Any]]:
        """Rows of the summary: one for each unit, or none."""
        return self._index.get((model, organ, metric), [])

    def of(self, model: str, organ: str, metric: str = "dice") -> dict[str, Any] | None:
        """The summary's row, of the first unit where there are several."""
        return next(iter(self.summary(model, organ, metric)), None)

    def scan_means(self, model: str) -> dict[str, float]:
        """Scan → mean Dice over its organs, undefined ones left out; scans without any defined figure are left out."""
        found: dict[str, list[float]] = defaultdict(list)
        for row in self.rows:
            if row["model"] == model:
                found[row["scan_id"]].append(number(row.get("dice")))
        means = {scan: mean_of(values) for scan, values in found.items()}
        return {scan: value for scan, value in means.items() if math.isfinite(value)}

    def patient_points(self, model: str) -> list[dict[str, Any]]:
        """One point for each organ and patient: the mean Dice over the patient's scans, and which scans these are.

        Patients are named by their scans: no other name of theirs leaves ingestion.
        """
        found: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
        for row in self.rows:
            value = number(row.get("dice"))
            if row["model"] == model and math.isfinite(value):
                found[row["organ"], row["patient_id"]].append((row["scan_id"], value))
        return [
            {"organ": organ, "scans": ", ".join(scan for scan, _ in pairs), "value": mean_of([v for _, v in pairs])}
            for (organ, _), pairs in found.items()
        ]

    def rule(self, model: str = CHAMPION, *, short: bool = False) -> str:
        """The rule for empty masks and how many cases of a model it decided."""
        counts = Counter(row["case"] for row in self.rows if row["model"] == model and row["case"] != "both")
        counted = ", ".join(f"{n} {CASE_WORDS[case]}" for case, n in sorted(counts.items())) or "none here"
        rule = SHORT_RULE if short else f"Empty masks, {self.facts['rule']}"
        return f"{rule} Such cases: {counted}."


@dataclass(frozen=True)
class Training:
    """One training's journal.

    Attributes:
        model: Name of the model.
        fold: Its fold.
        start: What it was started with; empty where it did not say.
        steps: ``step``, ``loss`` and ``learning_rate``, in order; of repeated steps the last.
        validations: ``step``, ``dice`` by organ and ``mean``.
        seconds: How long it took, where it ended.
        notes: What it said.
        resumed: How often it went on after a stop.
    """

    model: str
    fold: int
    start: Event
    steps: list[Event]
    validations: list[Event]
    seconds: float | None
    notes: list[str]
    resumed: int


@dataclass(frozen=True)
class Gathered:
    """Everything the report is made from.

    Attributes:
        study: The study.
        paths: Its places.
        scans: ``scans.csv``.
        rejected: ``rejected.csv``.
        splits: Patient → assignment; empty where nothing was split.
        plans: Model → plan.
        trainings: One for each model and fold.
        champion: What was chosen.
        quality_figures: How well the quality verdicts found bad segmentations, out of fold.
        test: Figures of the test patients.
        oof: Out-of-fold figures.
        verdicts: ``quality.csv`` of the champion's predictions.
        predictions: ``predictions.csv`` of the champion.
        checks: ``checks.csv`` of the exports.
    """

    study: Study
    paths: StudyPaths
    scans: list[Cells]
    rejected: list[Cells]
    splits: dict[str, Assignment]
    plans: dict[str, Plan]
    trainings: list[Training]
    champion: Champion | None
    quality_figures: dict[str, Any]
    test: Figures | None
    oof: Figures | None
    verdicts: list[Cells]
    predictions: list[Cells]
    checks: list[Cells]

    @cached_property
    def by_scan(self) -> dict[str, Cells]:
        """Scan → its row of ``scans.csv``."""
        return {row["scan_id"]: row for row in self.scans}

    @property
    def organs(self) -> list[str]:
        """The organs in order."""
        return list(self.study.organs)

    @property
    def organs_and_mean(self) -> list[str]:
        """The organs, and where there are several their mean."""
        return [*self.organs, *([MEAN] if len(self.organs) > 1 else [])]

    @property
    def labelled(self) -> list[Cells]:
        """Scans with a mask."""
        return [row for row in self.scans if row["labelled"] == "1"]

    @property
    def patients(self) -> int:
        """Patients whose scans were ingested."""
        return len({row["patient_id"] for row in self.scans})

    @property
    def is_flat(self) -> bool:
        """Whether the scans are pictures."""
        return all(row.get("size_z", "1") in {"", "1"} for row in self.scans)

    @property
    def with_findings(self) -> list[tuple[Cells, list[tuple[str, str]]]]:
        """Scans that ingestion noticed something about, with each finding's short name and sentence."""
        return [(row, found) for row in self.scans if (found := findings_of(row))]


def findings_of(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """Short names and sentences of a scan's findings."""
    parts = [part for part in _NEXT_FINDING.split(row.get("findings", "")) if part]
    return [(code, sentence.strip()) for code, _, sentence in (part.partition(":") for part in parts)]


def gather(study: Study, paths: StudyPaths) -> Gathered:
    """Read what there is of a study.

    Raises:
        InputError: The scans were not ingested, or a file that is there cannot be read.
    """
    predicted = paths.predictions("test", CHAMPION)
    quality = paths.champion / "quality.json"
    return Gathered(
        study=study,
        paths=paths,
        scans=read_table(paths.scans_csv),
        rejected=_table(paths.rejected_csv),
        splits=read_splits(paths.splits) if paths.splits.is_file() else {},
        plans={m: read_plan(paths.plan(m)) for m in study.models if not study.model and paths.plan(m).is_file()},
        trainings=_trainings(study, paths),
        champion=read_champion(paths.champion_yaml) if paths.champion_yaml.is_file() else None,
        quality_figures=read_json(quality).get("figures", {}) if quality.is_file() else {},
        test=_figures(paths, "test"),
        oof=_figures(paths, "oof"),
        verdicts=_table(predicted / "quality.csv"),
        predictions=_table(predicted / "predictions.csv"),
        checks=_table(paths.exports / "checks.csv"),
    )


def _table(path: Path) -> list[Cells]:
    return read_table(path) if path.is_file() else []


def _figures(paths: StudyPaths, part: Part) -> Figures | None:
    """A part's figures; ``None`` where none were measured or no scan was."""
    folder = paths.metrics(part)
    if not (folder / "summary.json").is_file():
        return None
    rows = _table(folder / "per_scan.csv")
    return Figures(rows, read_json(folder / "summary.json")) if rows else None


def _trainings(study: Study, paths: StudyPaths) -> list[Training]:
    if study.model:
        return []
    found = []
    for model in study.models:
        for fold in range(study.split.folds):
            journal = paths.model(model, fold) / "journal.jsonl"
            if journal.is_file():
                found.append(_training(model, fold, list(read_journal(journal))))
    return found


def _training(model: str, fold: int, events: Sequence[Event]) -> Training:
    kinds: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        kinds[event["kind"]].append(event)
    steps = {event["step"]: event for event in kinds["step"]}
    validations = {event["step"]: event for event in kinds["validation"]}
    return Training(
        model,
        fold,
        kinds["start"][-1] if kinds["start"] else {},
        [steps[step] for step in sorted(steps)],
        [validations[step] for step in sorted(validations)],
        kinds["end"][-1].get("seconds") if kinds["end"] else None,
        list(dict.fromkeys(event["text"] for event in kinds["note"])),
        max(len(kinds["start"]) - 1, 0),
    )
