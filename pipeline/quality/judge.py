"""Quality without a reference: is this scan like those of the training, and is what was found in it plausible?

Two things are asked. Is anything out of the ordinary: each figure of a new scan is compared with the interval in which
the development patients' figures predict it to lie, and its risk is the distance from the middle in half-widths. And is
the Dice that the figures predict below the study's limit: its risk grows with the distance from the limit, in standard
errors. The risk of an organ is the worst of these: above 1 a person should look, above 2 it failed. ``select``
calibrates both on out-of-fold predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.core.arrays import CHUNK, row_chunks
from pipeline.core.errors import InputError
from pipeline.core.files import read_json
from pipeline.core.labels import LabelMap
from pipeline.core.scan import Array, Scan
from pipeline.inference.champion import QUALITY
from pipeline.inference.postprocessing import voxel_size
from pipeline.inference.predictor import Prediction
from pipeline.quality.reference import Interval, QualityReference, predicted_dice, shortfall

LOOK, FAIL = 1.0, 2.0
COARSE = 8  # voxels a side of the coarse picture of a scan
Side = Literal["low", "high", "both"]

#: Least half-width of a figure's interval: what differs by less is the same to a person.
LEAST = {
    "certainty": 0.01,
    "passes": 0.02,
    "models": 0.02,
    "folds": 0.02,
    "log_size": 0.1,
    "whole": 0.02,
    "border": 0.1,
    "likeness": 0.03,
    "handedness": 0.05,
    "log_spacing": 0.05,
    "log_extent": 0.05,
}
LEAST_OTHERWISE = 0.02  # shares of the picture and of its grey values
#: Agreement that is known of scans that were predicted out of fold, by which it is calibrated.
OUT_OF_FOLD = ("passes", "models")
#: Figure → which side of its interval is suspicious, and how a person is told.
MEANINGS: dict[str, tuple[Side, str]] = {
    "certainty": ("low", "the network is unsure of its outline"),
    "passes": ("low", "the scan and its mirror image give different outlines"),
    "models": ("low", "the models disagree"),
    # What it rests on is part of the reason: of scans that were predicted out of fold nobody knows this figure.
    "folds": ("low", "the networks disagree more than good predictions and the reader do"),
    "log_size": ("both", "its size is unusual"),
    "place_x": ("both", "it lies unusually far to one side"),
    "place_y": ("both", "it lies unusually far to the front or back, top or bottom"),
    "place_z": ("both", "it lies unusually high or low"),
    "whole": ("low", "it is in several pieces"),
    "border": ("high", "it is cut off by the border of the scan"),
    "order": ("both", "left and right do not lie as usual"),
    "lean": ("both", "it lies unusually far to one side of the paired organs"),
    "likeness": ("low", "the scan does not look like those of the training"),
    "handedness": ("low", "the scan may be mirrored"),
    "darks": ("both", "the dark grey values are unusual"),
    "middles": ("both", "the middle grey values are unusual"),
    "brights": ("both", "the bright grey values are unusual"),
    "log_spacing": ("both", "the resolution is unusual"),
    "log_extent": ("both", "the field of view is unusual"),
}


@dataclass(frozen=True)
class Verdict:
    """What is thought of one organ.

    Attributes:
        verdict: ``good``, ``look`` or ``fail``.
        risk: Distance of its worst figure from what is usual, in half-widths of the interval.
        reasons: Why, worst first.
        dice: Predicted Dice with the bounds of its 90 % interval, where the training's patients sufficed.
    """

    verdict: Literal["good", "look", "fail"]
    risk: float
    reasons: tuple[str, ...]
    dice: tuple[float, float, float] | None = None

    @property
    def dice_text(self) -> str:
        """``0.91 (0.85 to 0.95)``."""
        return "" if self.dice is None else f"{self.dice[0]:.2f} ({self.dice[1]:.2f} to {self.dice[2]:.2f})"


def coarse_picture(scan: Scan) -> Array:
    """A scan's first channel as a few standardised voxels, ``(8, 8, 8)`` or, of a picture, ``(8, 8, 1)``."""
    from pipeline.imaging.resampling import resample

    values, shape = scan.voxels[0], (COARSE, COARSE, 1 if scan.is_flat else COARSE)
    low, high = np.percentile(_sample(values), (1, 99))

    def clipped(rows: slice) -> Array:
        return np.clip(np.nan_to_num(values[rows].astype(np.float32)), low, high)

    if values.nbytes <= CHUNK:
        small = resample(clipped(slice(None)), shape)
    else:  # the same, the last two axes first
        thin = [resample(clipped(rows), (rows.stop - rows.start, *shape[1:])) for rows in row_chunks(values)]
        small = resample(np.concatenate(thin), shape)
    spread = float(small.std())
    return (small - small.mean()) / (spread if spread > 0 else 1.0)


def _sample(values: Array) -> Array:
    """Some 200,000 of the values, evenly spread, as finite float32."""
    flat = values.reshape(-1)
    return np.nan_to_num(flat[:: max(flat.size // 200_000, 1)].astype(np.float32))


def scan_figures(scan: Scan, coarse: Array, sides: Array) -> dict[str, float]:
    """Figures of the scan itself, on canonical axes.

    Args:
        scan: The scan.
        coarse: Mean coarse picture of other scans, of :func:`coarse_picture`'s shape.
        sides: Weights of that shape that tell a scan from its mirror image (:mod:`pipeline.quality.sides`).
    """
    small = coarse_picture(scan)
    sample = _sample(scan.voxels[0])
    low, q10, q50, q90, high = np.percentile(sample, (1, 10, 50, 90, 99))
    width = high - low if high > low else 1.0
    extent = np.array(scan.shape) * np.array(scan.spacing)
    axes = 2 if scan.is_flat else 3
    return {
        "likeness": correlation(small, coarse),
        "handedness": float((small * sides).sum()),
        "darks": float((q10 - low) / width),
        "middles": float((q50 - low) / width),
        "brights": float((q90 - low) / width),
        # Pixels of unknown size have no resolution to compare; their number says nothing of the patient.
        "log_spacing": 0.0 if scan.unit == "px" else float(np.log(scan.spacing[:axes]).mean()),
        "log_extent": 0.0 if scan.unit == "px" else float(np.log(extent[:axes]).mean()),
    }


def correlation(one: Array, other: Array) -> float:
    """Pearson's correlation of two arrays of one shape; 0 where one is constant."""
    a, b = one - one.mean(), other - other.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > 0 else 0.0


def organ_figures(labels: LabelMap, unit: str, pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, float]]:
    """Figures of each organ's mask that is not empty: size, place in the scan, pieces, border, order of the sides."""
    from pipeline.imaging.components import largest_component

    figures: dict[str, dict[str, float]] = {}
    size = voxel_size(labels.grid, unit)
    shape = np.array(labels.data.shape, float)
    flat = labels.data.shape[2] == 1
    for organ in labels.organs:
        mask = labels.mask(organ)
        count = int(np.count_nonzero(mask))
        if not count:
            continue
        places = [_mean_place(mask, axis) / n for axis, n in enumerate(shape)]
        edge = sum(
            np.count_nonzero(mask.take(at, axis))
            for axis in range(2 if flat else 3)
            for at in (0, mask.shape[axis] - 1)
        )
        # Sizes in pixels change with the resolution of the file: their share of the picture does not.
        relative = count / mask.size if unit == "px" else count * size
        figures[organ] = {
            "log_size": float(np.log(relative)),
            "place_x": float(places[0]),
            "place_y": float(places[1]),
            **({} if flat else {"place_z": float(places[2])}),
            "whole": float(np.count_nonzero(largest_component(mask)) / count),
            "border": float(edge / count ** (1 / 2 if flat else 2 / 3)),
        }
    for one, other in pairs:
        if one in figures and other in figures:
            apart = figures[one]["place_x"] - figures[other]["place_x"]
            figures[one]["order"], figures[other]["order"] = apart, -apart
    paired = {organ for pair in pairs for organ in pair}
    known = [(figures[a]["place_x"], figures[b]["place_x"]) for a, b in pairs if a in figures and b in figures]
    if known and known[0][0] != known[0][1]:
        # Of an organ without a twin, such as the heart: where between the twins it lies, however the picture was taken.
        middle, apart = sum(known[0]) / 2, abs(known[0][0] - known[0][1])
        for organ in figures.keys() - paired:
            figures[organ]["lean"] = (figures[organ]["place_x"] - middle) / apart
    return figures


def dice_figures(
    scan: Mapping[str, float],
    mask: Mapping[str, float],
    certainty: float,
    intervals: Mapping[str, Interval],
    agreement: Mapping[str, float],
) -> dict[str, float]:
    """The figures that predict Dice; size and place as distances from what is usual, in half-widths.

    Of the agreement only what is also known of scans that were predicted out of fold.
    """
    places = [excess(name, mask[name], intervals[name]) for name in mask if name.startswith("place_")]
    return {
        "certainty": certainty,
        "likeness": scan["likeness"],
        "whole": mask["whole"],
        "size": excess("log_size", mask["log_size"], intervals["log_size"]),
        "place": max(places),
        **{who: agreement[who] for who in OUT_OF_FOLD if who in agreement},
    }


def _mean_place(mask: Array, axis: int) -> float:
    counts = np.count_nonzero(mask, axis=tuple(i for i in range(3) if i != axis))
    return float(counts @ (np.arange(len(counts)) + 0.5) / counts.sum())


class Judge:
    """Gives verdicts.

    Args:
        reference: What is usual.
    """

    def __init__(self, reference: QualityReference) -> None:
        self.reference = reference

    def __call__(self, scan: Scan, prediction: Prediction) -> dict[str, Verdict]:
        """Organ → verdict, for a scan on canonical axes."""
        reference = self.reference
        coarse = np.array(reference.coarse, np.float32).reshape(COARSE, COARSE, -1)
        if coarse.shape[2] == 1 and not scan.is_flat:
            # Of how such a model does on whole volumes, nobody has figures.
            why = ("the model was made and measured on pictures, and this is a volume",)
            return {organ: Verdict("look", (LOOK + FAIL) / 2, why) for organ in prediction.labels.organs}
        if (coarse.shape[2] == 1) != scan.is_flat:
            raise ValueError("the scan is not of the kind that the reference was made of")
        sides = np.array(reference.sides, np.float32).reshape(coarse.shape)
        own = scan_figures(scan, coarse, sides)
        masks = organ_figures(prediction.labels, scan.unit, reference.mirror_pairs)
        verdicts = {}
        for organ in prediction.labels.organs:
            agreement = {who: dice[organ] for who, dice in prediction.agreement.items()}
            certainty = prediction.certainty.get(organ)
            verdicts[organ] = self.of_organ(organ, own, masks.get(organ), certainty, agreement)
        return verdicts

    def of_organ(
        self,
        organ: str,
        scan: Mapping[str, float],
        mask: Mapping[str, float] | None,
        certainty: float | None,
        agreement: Mapping[str, float] | None = None,
    ) -> Verdict:
        """The verdict on one organ, from its figures; ``mask`` is ``None`` where nothing was found.

        ``agreement`` says between whom → Dice. It counts only where the organ was found: a few stray voxels of one pass
        or network, which the others outvote, are no outline to disagree on, and the certainty knows of them.
        """
        expected = self.reference.organs[organ]
        worst = {name: excess(name, scan[name], interval) for name, interval in self.reference.scan.items()}
        agreement = dict(agreement or {})
        figures = {**mask, **agreement} if mask is not None else {}
        if certainty is not None:
            figures["certainty"] = certainty
        for name, interval in expected.intervals.items():
            if name in figures:
                worst[name] = excess(name, figures[name], interval)
        reasons = {MEANINGS[name][1]: risk for name, risk in worst.items() if risk > LOOK}
        dice = None
        if mask is not None and certainty is not None and expected.dice is not None:
            known = dice_figures(scan, mask, certainty, expected.intervals, agreement)
            if expected.dice.figures.keys() <= known.keys():
                dice = predicted_dice(expected.dice, known)
                risk = self.dice_risk(shortfall(expected.dice, dice[0], self.reference.limit))
                reason = f"its predicted Dice is {dice[0]:.2f}"
            else:
                risk = (LOOK + FAIL) / 2
                reason = "its Dice cannot be predicted, as the scan was not predicted the way the model was calibrated"
            worst["dice"] = risk
            if risk > LOOK:
                reasons[reason] = risk
        if mask is None and expected.present > 0.5:
            # Where all training scans have it, nothing found is a failure; where many do, a reason to look.
            worst["nothing"] = 2 * FAIL if expected.present > 0.95 else (LOOK + FAIL) / 2
            reasons["nothing was found"] = np.inf
        risk = max(worst.values(), default=0.0)
        verdict: Literal["good", "look", "fail"] = "fail" if risk > FAIL else "look" if risk > LOOK else "good"
        return Verdict(verdict, risk, tuple(sorted(reasons, key=lambda reason: -reasons[reason])), dice)

    def dice_risk(self, short: float) -> float:
        """Risk of a predicted Dice ``short`` standard errors below the limit; failed is two beyond the alarm."""
        return 0.0 if self.reference.alarm is None else max(LOOK + (short - self.reference.alarm) / 2, 0.0)


def excess(name: str, value: float, interval: Interval) -> float:
    """Distance of a figure from the middle of its interval in half-widths, 0 on the side that is no reason to worry."""
    apart = value - interval.middle
    half = interval.half if apart > 0 or interval.below is None else interval.below
    apart /= max(half, LEAST.get(name, LEAST_OTHERWISE))
    side = MEANINGS[name][0]
    return float(max(-apart if side == "low" else apart if side == "high" else abs(apart), 0.0))


def open_judge(folder: Path) -> Judge | None:
    """The judge of a champion's folder; ``None`` where the folder has no ``quality.json``.

    Raises:
        InputError: The file is damaged.
    """
    path = folder / QUALITY
    if not path.is_file():
        return None
    try:
        return Judge(QualityReference.model_validate(read_json(path)))
    except ValueError as error:
        raise InputError(f"is not a quality reference ({error})", where=str(path)) from None
