"""Out-of-fold evidence: Dice per patient of models, ensembles and clean-up steps, from what ``predict`` left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.files import read_table
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.scan import Array
from pipeline.core.study import Study
from pipeline.core.units import length_unit
from pipeline.formats.store import read_labels
from pipeline.imaging.preprocessing import pack_bits
from pipeline.inference.agreement import AGREEMENT, least_dice, mean_dice
from pipeline.inference.postprocessing import OrganSteps, clean_organ, voxel_size
from pipeline.metrics.empty import EmptyCase, by_presence
from pipeline.metrics.overlap import overlap
from pipeline.metrics.statistics import patient_means

#: Organ → patient → mean of :attr:`Outcome.right` over the patient's scans.
Scores = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Outcome:
    """How one organ of one scan came out.

    Attributes:
        scan_id: The scan.
        patient_id: Whose it is.
        organ: The organ.
        case: Which mask is empty, if any.
        dice: NaN where both are.
    """

    scan_id: str
    patient_id: str
    organ: str
    case: EmptyCase
    dice: float

    @property
    def right(self) -> float:
        """Dice; of an organ that the reader does not have, 1 where nothing was found, and 0 otherwise.

        It is no Dice and is never shown as one: it weighs clean-up steps, whose work it is to remove what should not be
        there.
        """
        return 1.0 if self.case == "both_empty" else self.dice


@dataclass(frozen=True)
class OofScan:
    """A development scan that every model predicted out of fold.

    Attributes:
        scan_id: Its name.
        patient_id: Whose it is.
        shard: Where its mask lies.
        unit: ``mm`` or ``px``.
    """

    scan_id: str
    patient_id: str
    shard: str
    unit: str


class Evidence:
    """Reads out-of-fold predictions one scan at a time.

    Args:
        study: The study.
        paths: Its places.

    Raises:
        InputError: There is no labelled scan that every model predicted.
    """

    def __init__(self, study: Study, paths: StudyPaths) -> None:
        self.study = study
        self.paths = paths
        self.models = list(study.models)
        self._known_passes: dict[str, dict[str, dict[str, float]]] = {}
        done = [
            {
                row["scan_id"]
                for row in read_table(paths.predictions("oof", m) / "predictions.csv")
                if row["status"] == "ok"
            }
            for m in self.models
        ]
        shared = set.intersection(*done)
        self.scans = [
            OofScan(row["scan_id"], row["patient_id"], row["shard"], length_unit(row["spacing_source"]))
            for row in read_table(paths.scans_csv)
            if row["scan_id"] in shared and row["labelled"] == "1"
        ]
        if not self.scans:
            raise InputError("there is no labelled scan that every model predicted out of fold")

    @property
    def patients(self) -> int:
        """How many patients the evidence is of."""
        return len({scan.patient_id for scan in self.scans})

    def reference(self, scan: OofScan) -> LabelMap:
        """The reader's organs."""
        return read_labels(self.paths.mask(scan.shard, scan.scan_id))

    def prediction(self, scan: OofScan, model: str) -> LabelMap:
        """What a model predicted, as it lies on disk."""
        return read_labels(self.paths.predictions("oof", model) / f"{scan.scan_id}.nii.gz")

    def probabilities(self, scan: OofScan, models: Sequence[str]) -> Array:
        """Mean probabilities ``(K, X, Y, Z)`` of models, float32, each known to 1/255."""
        total: Array | None = None
        for model in models:
            path = self.paths.predictions("oof", model) / "probabilities" / f"{scan.scan_id}.npz"
            with np.load(path, allow_pickle=False) as content:
                part = content["probabilities"].astype(np.float32)
            total = part if total is None else total + part
        if total is None:
            raise ValueError("no models")
        return total / np.float32(255 * len(models))

    def agreement(self, scan: OofScan, models: Sequence[str]) -> dict[str, dict[str, float]]:
        """Between whom → organ → Dice, as a champion of these models says it; what is not known is absent.

        ``passes``: between mirrored windows, the mean of the models, as ``predict`` left it. ``models``: the least of
        any two models.
        """
        found: dict[str, dict[str, float]] = {}
        passes = [self._passes(model).get(scan.scan_id) for model in models]
        known = [one for one in passes if one is not None]
        if known:
            found["passes"] = mean_dice(known)
        if len(models) > 1:
            found["models"] = least_dice([self.prediction(scan, model) for model in models])
        return found

    def _passes(self, model: str) -> dict[str, dict[str, float]]:
        """Scan → organ → agreement of a model's mirrored passes; nothing of a model whose windows are not mirrored."""
        if model not in self._known_passes:
            path = self.paths.predictions("oof", model) / AGREEMENT
            scans: dict[str, dict[str, float]] = {}
            for row in read_table(path) if path.is_file() else []:
                if row["between"] == "passes":
                    scans.setdefault(row["scan_id"], {})[row["organ"]] = float(row["dice"])
            self._known_passes[model] = scans
        return self._known_passes[model]

    def chosen(self, scan: OofScan, models: Sequence[str], thresholds: Mapping[str, float]) -> LabelMap:
        """What models say together, before clean-up: one model without thresholds as it lies on disk."""
        if len(models) == 1 and not thresholds:
            return self.prediction(scan, models[0])
        organs, overlapping = self.study.organ_names(), self.study.overlapping
        dtype = LabelMap.dtype_for(len(organs), overlapping)
        probabilities = self.probabilities(scan, models)
        if overlapping:
            least = np.array([thresholds.get(organ, 0.5) for organ in organs], np.float32)
            data = pack_bits(probabilities >= least[:, None, None, None], dtype)
        else:
            data = probabilities.argmax(0).astype(dtype)
        affine = self.reference(scan).affine
        return LabelMap(data, affine, organs, overlapping, frozenset(organs))

    def each(self) -> Iterator[tuple[OofScan, LabelMap]]:
        """Scans with their references."""
        for scan in self.scans:
            yield scan, self.reference(scan)

    def outcomes(self, models: Sequence[str]) -> list[Outcome]:
        """How every organ of every scan came out by models together."""
        return self.tally(lambda scan: {"": (self.chosen(scan, models, {}), {})})[""]

    def step_scores(
        self, models: Sequence[str], steps: Mapping[str, OrganSteps], options: Mapping[str, Mapping[str, OrganSteps]]
    ) -> dict[str, Scores]:
        """How right organs are with their present steps (option ``""``) and with each option's steps in their place.

        Args:
            models: Who predicts.
            steps: Organ → its steps so far.
            options: Name of an option → organ → steps to try for it.
        """
        everything: dict[str, Mapping[str, OrganSteps]] = {"": steps, **options}

        def tried(scan: OofScan) -> dict[str, tuple[LabelMap, Mapping[str, OrganSteps]]]:
            known: dict[tuple[tuple[str, float], ...], LabelMap] = {}
            answers = {}
            for name, todo in everything.items():
                thresholds = {o: s.threshold for o, s in {**steps, **todo}.items() if s.threshold is not None}
                key = tuple(sorted(thresholds.items()))
                if key not in known:
                    known[key] = self.chosen(scan, models, thresholds)
                answers[name] = known[key], todo
            return answers

        scores: dict[str, Scores] = {}
        for name, outcomes in self.tally(tried).items():
            pairs: dict[str, list[tuple[str, float]]] = {}
            for one in outcomes:
                pairs.setdefault(one.organ, []).append((one.patient_id, one.right))
            scores[name] = {organ: patient_means(own) for organ, own in pairs.items()}
        return scores

    def tally(
        self, predict: Callable[[OofScan], Mapping[str, tuple[LabelMap, Mapping[str, OrganSteps]]]]
    ) -> dict[str, list[Outcome]]:
        """How organs came out under every option that ``predict`` gives for a scan."""
        outcomes: dict[str, list[Outcome]] = {}
        for scan, reference in self.each():
            counted = ~reference.ignored()
            for name, (labels, steps) in predict(scan).items():
                for organ in self.study.organ_names():
                    if organ not in reference.annotated or (name and organ not in steps):
                        continue
                    todo = steps.get(organ, OrganSteps())
                    size = voxel_size(labels.grid, scan.unit)
                    found = clean_organ(labels, organ, todo, size) & counted
                    counts = overlap(found, reference.mask(organ) & counted)
                    outcome = Outcome(scan.scan_id, scan.patient_id, organ, counts.case, counts.dice)
                    outcomes.setdefault(name, []).append(outcome)
        return outcomes


def mean_over_organs(outcomes: Sequence[Outcome], figure: str = "dice") -> dict[str, float]:
    """Patient → mean over the organs of each scan, then over the patient's scans, as ``evaluate`` takes it.

    Args:
        outcomes: Of any organs and scans.
        figure: ``dice``, ``dice_present`` or ``false_alarm``; what is undefined is left out.
    """
    scans: dict[tuple[str, str], list[float]] = {}
    for one in outcomes:
        value = one.dice if figure == "dice" else by_presence(one.case, one.dice)[figure]
        if np.isfinite(value):
            scans.setdefault((one.patient_id, one.scan_id), []).append(value)
    return patient_means((patient, float(np.mean(values))) for (patient, _), values in scans.items())
