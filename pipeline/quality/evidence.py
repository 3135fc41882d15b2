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
from pipeline.metrics.overlap import dice
from pipeline.metrics.statistics import patient_means

#: Organ → patient → mean Dice over the patient's scans.
Scores = dict[str, dict[str, float]]


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

    def scores(self, models: Sequence[str]) -> Scores:
        """Dice of models together."""
        return self.tally(lambda scan: {"": (self.chosen(scan, models, {}), {})})[""]

    def step_scores(
        self, models: Sequence[str], steps: Mapping[str, OrganSteps], options: Mapping[str, Mapping[str, OrganSteps]]
    ) -> dict[str, Scores]:
        """Dice with each organ's present steps (option ``""``) and with each option's steps in their place.

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

        return self.tally(tried)

    def tally(
        self, predict: Callable[[OofScan], Mapping[str, tuple[LabelMap, Mapping[str, OrganSteps]]]]
    ) -> dict[str, Scores]:
        """Dice per organ and patient of every option that ``predict`` gives for a scan."""
        values: dict[str, dict[str, list[tuple[str, float]]]] = {}
        for scan, reference in self.each():
            counted = ~reference.ignored()
            for name, (labels, steps) in predict(scan).items():
                for organ in self.study.organ_names():
                    if organ not in reference.annotated or (name and organ not in steps):
                        continue
                    todo = steps.get(organ, OrganSteps())
                    size = voxel_size(labels.grid, scan.unit)
                    found = clean_organ(labels, organ, todo, size) & counted
                    score = agreement(found, reference.mask(organ) & counted)
                    values.setdefault(name, {}).setdefault(organ, []).append((scan.patient_id, score))
        return {
            name: {organ: patient_means(pairs) for organ, pairs in organs.items()} for name, organs in values.items()
        }


def agreement(found: Array, reference: Array) -> float:
    """Dice; 1 where both masks are empty, because removing what should not be there is what clean-up is for."""
    value = dice(found, reference)
    return 1.0 if np.isnan(value) else value


def mean_over_organs(scores: Scores) -> dict[str, float]:
    """Patient → mean over the organs that the patient has a figure for."""
    patients = sorted({patient for organ in scores.values() for patient in organ})
    return {p: float(np.mean([organ[p] for organ in scores.values() if p in organ])) for p in patients}
