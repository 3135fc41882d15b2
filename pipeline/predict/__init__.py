"""The stage ``predict``: each development scan by the fold that never saw it, test scans by all folds, and, with the
champion, the test's and the unlabelled scans.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.files import read_table, whole_file, write_table
from pipeline.core.paths import StudyPaths
from pipeline.core.splits import Part, by_part, read_splits
from pipeline.core.study import Study
from pipeline.formats.store import read_scan, write_labels
from pipeline.mechanics.predictor import Prediction, Predictor, open_champion, open_folds
from pipeline.mechanics.quality import Judge, Verdict, open_judge

Row = dict[str, str]
QUALITY_COLUMNS = ("scan_id", "organ", "verdict", "risk", "dice", "dice_low", "dice_high", "reasons")
COLUMNS = ("scan_id", "patient_id", "model", "fold", "status", "reason", "seconds")


def run(
    study: Study,
    paths: StudyPaths,
    part: Part,
    model: str,
    *,
    threads: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Predict one part of a study's scans with one model.

    Writes a label map a scan (on the scan's canonical grid), ``predictions.csv`` with a row a scan, and for ``oof`` the
    probabilities, from which ``select`` reads ensembles and thresholds. A scan that cannot be predicted is a row with
    its reason.

    Args:
        study: The study.
        paths: Its places.
        part: ``oof`` or ``test``.
        model: A model of the study, or ``champion``.
        threads: Processor threads; by default what the process may use.
        say: Takes a line of progress.

    Raises:
        InputError: The model is not there, or not one scan could be predicted.
    """
    out = paths.predictions(part, model)
    judge = open_judge(paths.champion) if model == "champion" else None
    work = _Work(paths, out, model, keep=part == "oof" and model != "champion", judge=judge, say=say)
    for predictor, fold, scans in _assignments(study, paths, part, model, threads):
        work.predict(predictor, fold, scans)
    work.close()


def _assignments(
    study: Study, paths: StudyPaths, part: Part, model: str, threads: int | None
) -> Iterable[tuple[Predictor, str, list[Row]]]:
    """Who predicts which scans; each network is loaded once."""
    scans = read_table(paths.scans_csv)
    if model == "champion":
        if study.model is None:
            splits = read_splits(paths.splits)
            test = {row["scan_id"] for row in by_part(scans, splits, "test")}
            scans = [row for row in scans if row["scan_id"] in test or row["labelled"] != "1"]
        yield open_champion(paths.champion, threads=threads)[0], "", scans
        return
    splits = read_splits(paths.splits)
    chosen = by_part(scans, splits, part)
    folds = range(study.split.folds)
    if part == "test":
        yield open_folds([paths.model(model, fold) for fold in folds], threads=threads), "", chosen
        return
    for fold in folds:
        own = [row for row in chosen if splits[row["patient_id"]].fold == fold]
        if own:
            yield open_folds([paths.model(model, fold)], threads=threads), str(fold), own


class _Work:
    """Predicts scans one by one; what goes wrong with one of them becomes its row."""

    def __init__(
        self, paths: StudyPaths, out: Path, model: str, *, keep: bool, judge: Judge | None, say: Callable[[str], None]
    ) -> None:
        self.paths = paths
        self.out = out
        self.model = model
        self.keep = keep
        self.judge = judge
        self.say = say
        self.rows: list[Row] = []
        self.verdicts: list[Row] = []

    def predict(self, predictor: Predictor, fold: str, scans: list[Row]) -> None:
        """Predict scans with one predictor."""
        tenth = max(len(scans) // 10, 1)
        for number, scan in enumerate(scans, 1):
            name = scan["scan_id"]
            row = {"scan_id": name, "patient_id": scan["patient_id"], "model": self.model, "fold": fold, "status": "ok"}
            start = time.perf_counter()
            try:
                self._one(predictor, scan)
            except InputError as error:
                row |= {"status": "failed", "reason": error.what}
            except (MemoryError, RuntimeError, ValueError, OSError) as error:
                row |= {"status": "failed", "reason": f"{type(error).__name__} while predicting"}
            row["seconds"] = f"{time.perf_counter() - start:.3f}"
            self.rows.append(row)
            if row["status"] != "ok":
                self.say(f"{name} failed: {row['reason']}")
            elif number % tenth == 0 and number < len(scans):
                self.say(f"{self.model}: {number} of {len(scans)} scans")

    def _one(self, predictor: Predictor, scan: Row) -> None:
        name = scan["scan_id"]
        image = read_scan(self.paths.scan(scan["shard"], name))
        prediction = predictor.predict(image)
        if self.keep:
            write_probabilities(self.out / "probabilities" / f"{name}.npz", prediction)
        if self.judge is not None:
            self.verdicts += quality_rows(name, self.judge(image.canonical(), prediction))
        write_labels(self.out / f"{name}.nii.gz", prediction.labels, image.unit)

    def close(self) -> None:
        """Write the tables.

        Raises:
            InputError: Not one scan could be predicted.
        """
        self.rows.sort(key=lambda row: row["scan_id"])
        _drop_others(self.out, {row["scan_id"] for row in self.rows if row["status"] == "ok"})
        if self.judge is not None:
            self.verdicts.sort(key=lambda row: row["scan_id"])
            write_table(self.out / "quality.csv", self.verdicts, QUALITY_COLUMNS)
        write_table(self.out / "predictions.csv", self.rows, COLUMNS)
        failed = [row for row in self.rows if row["status"] != "ok"]
        done = len(self.rows) - len(failed)
        self.say(f"{self.model}: {done} scans predicted" + (f", {len(failed)} failed" if failed else ""))
        if failed and not done:
            raise InputError(f"not one of {len(failed)} scans could be predicted; the first: {failed[0]['reason']}")


def quality_rows(scan_id: str, verdicts: Mapping[str, Verdict]) -> list[Row]:
    """Rows of ``quality.csv`` of one scan."""
    rows = []
    for organ, verdict in verdicts.items():
        dice = ("", "", "") if verdict.dice is None else tuple(f"{value:.4f}" for value in verdict.dice)
        rows.append(
            {
                "scan_id": scan_id,
                "organ": organ,
                "verdict": verdict.verdict,
                "risk": f"{verdict.risk:.3f}",
                **dict(zip(("dice", "dice_low", "dice_high"), dice, strict=True)),
                "reasons": "; ".join(verdict.reasons),
            }
        )
    return rows


def write_probabilities(path: Path, prediction: Prediction) -> None:
    """Write probabilities in 255 steps."""
    with whole_file(path) as part:
        np.savez_compressed(part, probabilities=np.rint(prediction.probabilities * 255).astype(np.uint8))


def _drop_others(out: Path, names: set[str]) -> None:
    """Remove what an earlier run left of scans that are gone."""
    kept = {f"{name}.nii.gz" for name in names}
    for path in out.glob("*.nii.gz"):
        if path.name not in kept:
            path.unlink()
    for path in (out / "probabilities").glob("*.npz"):
        if path.stem not in names:
            path.unlink()
