"""A trained model, opened once for any number of scans: a champion, a registered one, or a single fold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.core.say import Say, quiet
from pipeline.core.scan import Scan
from pipeline.core.study import Study
from pipeline.inference.champion import FILE, MODEL, BackendName, Champion, Member, member_plan, member_reading
from pipeline.inference.predictor import Prediction, Predictor, open_champion, open_folds
from pipeline.quality.judge import Judge, Verdict, open_judge


@dataclass(frozen=True)
class Model:
    """A model that is ready to segment scans.

    Attributes:
        champion: What it is: its organs, how its scans are to be read, and on what evidence it was chosen.
        predictor: Its networks.
        judge: Says how far a prediction can be trusted; ``None`` for a single fold, which no verdicts were made for.
        folder: Where it lies.
    """

    champion: Champion
    predictor: Predictor
    judge: Judge | None
    folder: Path

    def predict(self, scan: Scan) -> Prediction:
        """Segment one scan.

        Args:
            scan: ``(C, X, Y, Z)``, with the channels that the model was trained on, in any orientation.

        Returns:
            The organs and their probabilities, on the scan's grid with its axes in canonical (RAS+) order.

        Raises:
            InputError: The scan is not of the kind that the networks were trained on.
        """
        return self.predictor.predict(scan)

    def verdicts(self, scan: Scan, prediction: Prediction) -> Mapping[str, Verdict]:
        """Organ → how far its mask can be trusted; empty where the model has no judge.

        Args:
            scan: What was segmented.
            prediction: What :meth:`predict` found in it.
        """
        return self.judge(scan.canonical(), prediction) if self.judge else {}


def open_model(
    model: str | Path,
    *,
    threads: int | None = None,
    backend: BackendName | None = None,
    say: Say = quiet,
) -> Model:
    """Open a champion's folder, a trained fold's, or a registered model.

    Args:
        model: The folder, or ``models:/NAME@alias``, or ``runs:/ID``.
        threads: Processor threads; by default what the process may use.
        backend: In place of the one that the champion was evaluated with.
        say: Told where another backend takes the place of that one.

    Raises:
        InputError: There is no such model.
    """
    if str(model).startswith(("models:/", "runs:/")):
        from pipeline.tracking import download_model

        folder = download_model(str(model))
    else:
        folder = Path(model)
    if (folder / FILE).is_file():
        predictor, champion = open_champion(folder, threads=threads, backend=backend, say=say)
        return Model(champion, predictor, open_judge(folder), folder)
    if not (folder / MODEL).is_file():
        raise InputError(
            "there is no trained model",
            where=str(model),
            remedy="Give the folder results/<study>/champion, or that of a fold, or models:/NAME@champion.",
        )
    return Model(_fold_alone(folder), open_folds([folder], threads=threads), open_judge(folder), folder)


def _fold_alone(folder: Path) -> Champion:
    """A single trained fold, described as a champion of one member."""
    plan = member_plan(folder)
    colors = Study(modality=plan.modality, organs={organ: {} for organ in plan.organs}).colors()  # type: ignore[arg-type]
    return Champion(
        name=plan.model,
        study=plan.model,
        modality=plan.modality,  # type: ignore[arg-type]
        organs=plan.organs,
        overlapping=plan.overlapping,
        colors=colors,
        mirror_pairs=plan.mirror_pairs,
        ingest=member_reading(folder),
        members=[Member(model=plan.model, fold=0, folder=".")],
    )
