"""The stage ``predict``: each development scan by the fold that never saw it, test scans by all folds, and, with the
champion, the test's and the unlabelled scans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.files import Cells, read_table, whole_file, write_table
from pipeline.core.names import below
from pipeline.core.paths import StudyPaths
from pipeline.core.scan import Scan
from pipeline.core.splits import Part, by_part, read_splits
from pipeline.core.study import Study
from pipeline.formats.correction import FOLDER, clear, finish, put_aside
from pipeline.formats.nifti.labels import write_probabilities
from pipeline.formats.store import read_scan, write_labels
from pipeline.inference.agreement import AGREEMENT, Agreement
from pipeline.inference.flow import predict_scans
from pipeline.inference.predictor import Prediction, Predictor, open_champion, open_folds
from pipeline.quality.judge import Judge, Verdict, open_judge

PROBABILITIES = "probabilities"
QUALITY_COLUMNS = ("scan_id", "organ", "verdict", "risk", "dice", "dice_low", "dice_high", "reasons")
AGREEMENT_COLUMNS = ("scan_id", "organ", "between", "dice")
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
    probabilities, from which ``select`` reads ensembles and thresholds, and ``agreement.csv``, how far mirrored passes
    agree, by which it calibrates verdicts. The champion's probabilities are kept as they are to be exported, where the
    study asks for that form. A scan that cannot be predicted is a row with its reason.

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
    work = _Work(
        study, paths, out, model, keep=part == "oof" and model != "champion", judge=judge, threads=threads, say=say
    )
    for predictor, fold, scans in _assignments(study, paths, part, model, threads):
        work.predict(predictor, fold, scans)
    work.close()


def _assignments(
    study: Study, paths: StudyPaths, part: Part, model: str, threads: int | None
) -> Iterable[tuple[Predictor, str, list[Cells]]]:
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


@dataclass
class _Written:
    """What is to be noted of a scan whose label map was written."""

    verdicts: list[Cells] = field(default_factory=list)
    agreement: list[Cells] = field(default_factory=list)
    aside: bool = False


class _Work:
    """Predicts scans one by one; what goes wrong with one of them becomes its row."""

    def __init__(
        self,
        study: Study,
        paths: StudyPaths,
        out: Path,
        model: str,
        *,
        keep: bool,
        judge: Judge | None,
        threads: int | None,
        say: Callable[[str], None],
    ) -> None:
        self.study = study
        self.paths = paths
        self.out = out
        self.model = model
        self.keep = keep
        self.form = model == "champion" and "probabilities" in study.export.formats
        self.judge = judge
        self.threads = threads
        self.say = say
        self.rows: list[Cells] = []
        self.verdicts: list[Cells] = []
        self.agreement: list[Cells] = []
        self.aside = 0
        # Not below the rule's output, which is removed before each run, with all that a person did in it.
        self.correction = paths.results / FOLDER
        kept = clear(self.correction) if judge is not None else None
        if kept is not None:
            say(f"corrections that were begun are kept in {kept}")

    def predict(self, predictor: Predictor, fold: str, scans: list[Cells]) -> None:
        """Predict scans with one predictor."""
        tenth = max(len(scans) // 10, 1)

        def read(scan: Cells) -> Scan:
            return read_scan(self.paths.scan(scan["shard"], scan["scan_id"]))

        outcomes = predict_scans(scans, predictor, read, self._write, threads=self.threads, explain=_reason)
        for number, outcome in enumerate(outcomes, 1):
            row = {name: outcome.item[name] for name in ("scan_id", "patient_id")}
            row |= {"model": self.model, "fold": fold, "status": "failed" if outcome.reason else "ok"}
            row |= {"reason": outcome.reason, "seconds": f"{outcome.seconds:.3f}"}
            self.rows.append(row)
            if outcome.result is None:
                self.say(f"{row['scan_id']} failed: {row['reason']}")
                continue
            self.verdicts += outcome.result.verdicts
            self.agreement += outcome.result.agreement
            self.aside += outcome.result.aside
            if number % tenth == 0 and number < len(scans):
                self.say(f"{self.model}: {number} of {len(scans)} scans")

    def _write(self, row: Cells, scan: Scan, prediction: Prediction) -> _Written:
        """Write what was found, judge it, and put aside what is doubtful."""
        name, written = row["scan_id"], _Written()
        if self.keep:
            keep_probabilities(below(self.out, PROBABILITIES, f"{name}.npz"), prediction)
            written.agreement = agreement_rows(name, prediction.agreement)
        if self.form:
            path = below(self.out, PROBABILITIES, f"{name}.nii.gz")
            write_probabilities(path, scan, prediction.probabilities, overlapping=self.study.overlapping)
        if self.judge is not None:
            written.verdicts = quality_rows(name, self.judge(scan, prediction))
            doubtful = any(verdict["verdict"] != "good" for verdict in written.verdicts)
            if doubtful and row["labelled"] != "1":
                put_aside(self.correction, name, scan, prediction.labels, self.study.values())
                written.aside = True
        write_labels(below(self.out, f"{name}.nii.gz"), prediction.labels, scan.unit)
        return written

    def close(self) -> None:
        """Write the tables.

        Raises:
            InputError: Not one scan could be predicted.
        """
        self.rows.sort(key=lambda row: row["scan_id"])
        found = {row["scan_id"] for row in self.rows if row["status"] == "ok"}
        _drop_others(self.out, found, wanted=self.keep or self.form)
        if self.judge is not None:
            self.verdicts.sort(key=lambda row: row["scan_id"])
            write_table(self.out / "quality.csv", self.verdicts, QUALITY_COLUMNS)
        if self.keep:
            self.agreement.sort(key=lambda row: row["scan_id"])
            write_table(self.out / AGREEMENT, self.agreement, AGREEMENT_COLUMNS)
        write_table(self.out / "predictions.csv", self.rows, COLUMNS)
        failed = [row for row in self.rows if row["status"] != "ok"]
        done = len(self.rows) - len(failed)
        self.say(f"{self.model}: {done} scans predicted" + (f", {len(failed)} failed" if failed else ""))
        if self.aside:
            finish(self.correction)
            self.say(f"{self.aside} doubtful scans without masks lie in {self.correction}, to be corrected")
        if failed and not done:
            raise InputError(f"not one of {len(failed)} scans could be predicted; the first: {failed[0]['reason']}")


def _reason(error: Exception) -> str:
    """Why a scan failed, in words that name no file of the source."""
    return error.what if isinstance(error, InputError) else f"{type(error).__name__} while predicting"


def quality_rows(scan_id: str, verdicts: Mapping[str, Verdict]) -> list[Cells]:
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


def agreement_rows(scan_id: str, agreement: Agreement) -> list[Cells]:
    """Rows of ``agreement.csv`` of one scan."""
    return [
        {"scan_id": scan_id, "organ": organ, "between": who, "dice": f"{value:.6f}"}
        for who, organs in agreement.items()
        for organ, value in organs.items()
    ]


def keep_probabilities(path: Path, prediction: Prediction) -> None:
    """Write probabilities in 255 steps, for ``select`` to read."""
    with whole_file(path) as part:
        np.savez_compressed(part, probabilities=np.rint(prediction.probabilities * 255).astype(np.uint8))


def _drop_others(out: Path, names: set[str], *, wanted: bool) -> None:
    """Remove what an earlier run left of scans that are gone, and probabilities that are not wanted."""
    kept = {f"{name}.nii.gz" for name in names}
    for path in out.glob("*.nii.gz"):
        if path.name not in kept:
            path.unlink()
    for path in (out / PROBABILITIES).glob("*"):
        if path.name.removesuffix(".npz").removesuffix(".nii.gz") not in names or not wanted:
            path.unlink()
