"""Calibrates quality verdicts on the development patients: what is usual, and how well verdicts find what failed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.core.files import read_table
from pipeline.core.paths import StudyPaths
from pipeline.core.scan import Array
from pipeline.core.splits import read_splits
from pipeline.core.study import Study
from pipeline.formats.store import read_labels, read_scan
from pipeline.mechanics.postprocessing import OrganSteps, clean_labels
from pipeline.mechanics.predictor import expected_dice
from pipeline.mechanics.quality import (
    LOOK,
    Interval,
    Judge,
    OrganReference,
    QualityReference,
    coarse_picture,
    correlation,
    organ_figures,
    scan_figures,
)
from pipeline.select.evidence import Evidence, agreement

#: Chance that a figure of an ordinary scan lies outside its interval, were figures normally distributed.
TAIL = 0.002
#: Factors that intervals are widened by, until false alarms are rare enough.
WIDENINGS = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)
FALSE_ALARMS = 0.08  # of good organs, at most; a tenth is promised, and held-out patients always fare a little worse
PARTS = 5  # of the cross-validation over patients
ENOUGH = 20  # patients for a predicted Dice


@dataclass
class Known:
    """What the calibration knows of one development scan.

    Attributes:
        scan_id: Its name.
        patient: Whose it is.
        coarse: Its coarse picture.
        scan: Figures of the scan itself.
        truth: Organ → figures of the reader's mask.
        looked_for: Organs that the reader looked for.
        found: Organ → figures of the prediction's mask; ``None`` for scans that nobody predicted out of fold.
        certainty: Organ → certainty of the prediction.
        dice: Organ → Dice of the prediction.
    """

    scan_id: str
    patient: str
    coarse: Array
    scan: dict[str, float]
    truth: dict[str, dict[str, float]]
    looked_for: frozenset[str]
    found: dict[str, dict[str, float]] | None = None
    certainty: dict[str, float] | None = None
    dice: dict[str, float] | None = None


def calibrate(
    study: Study, paths: StudyPaths, evidence: Evidence, models: Sequence[str], steps: Mapping[str, OrganSteps]
) -> tuple[QualityReference, list[tuple[str, float]]]:
    """Make the reference that verdicts are given by; give it with the champion's out-of-fold Dice of each scan.

    Args:
        study: The study.
        paths: Its places.
        evidence: The out-of-fold predictions.
        models: Who predicts together.
        steps: Each organ's clean-up.
    """
    known = _gather(study, paths, evidence, models, steps)
    pairs = study.mirror_pairs()
    limit = study.evaluate.dice_limit
    best: tuple[float, list[tuple[bool, float]]] = (WIDENINGS[-1], [])
    for widening in WIDENINGS:
        outcomes = _held_out(known, study, widening, limit)
        best = (widening, outcomes)
        good = [risk for bad, risk in outcomes if not bad]
        if not good or np.mean(np.array(good) > LOOK) <= FALSE_ALARMS:
            break
    widening, outcomes = best
    reference = _reference(known, study, widening, limit)
    figures = {"dice_limit": limit, "widening": widening, **performance(outcomes)}
    scores = [(one.scan_id, float(np.mean(list(one.dice.values())))) for one in known if one.dice]
    return reference.model_copy(update={"mirror_pairs": pairs, "figures": figures}), scores


def _gather(
    study: Study, paths: StudyPaths, evidence: Evidence, models: Sequence[str], steps: Mapping[str, OrganSteps]
) -> list[Known]:
    splits = read_splits(paths.splits)
    predicted = {scan.scan_id: scan for scan in evidence.scans}
    pairs = study.mirror_pairs()
    thresholds = {organ: s.threshold for organ, s in steps.items() if s.threshold is not None}
    known = []
    for row in read_table(paths.scans_csv):
        if row["labelled"] != "1" or splits[row["patient_id"]].split != "development":
            continue
        scan = read_scan(paths.scan(row["shard"], row["scan_id"]))
        truth = read_labels(paths.mask(row["shard"], row["scan_id"]))
        coarse = coarse_picture(scan)
        figures = organ_figures(truth, scan.unit, pairs)
        one = Known(row["scan_id"], row["patient_id"], coarse, scan_figures(scan, coarse), figures, truth.annotated)
        own = predicted.get(row["scan_id"])
        if own is not None:
            raw = evidence.chosen(own, models, thresholds)
            one.certainty = expected_dice(evidence.probabilities(own, models), raw)
            cleaned = clean_labels(raw, steps, scan.unit)
            one.found = organ_figures(cleaned, scan.unit, pairs)
            counted = ~truth.ignored()
            one.dice = {
                organ: agreement(cleaned.mask(organ) & counted, truth.mask(organ) & counted)
                for organ in truth.annotated
            }
        known.append(one)
    _compare_with_others(known)
    return known


def _compare_with_others(known: Sequence[Known]) -> None:
    """Likeness of each scan to the mean of the other patients' scans, in place of that to itself."""
    total = np.sum([one.coarse for one in known], axis=0)
    own: dict[str, Array] = defaultdict(lambda: np.zeros_like(total))
    for one in known:
        own[one.patient] = own[one.patient] + one.coarse
    for one in known:
        others = total - own[one.patient]
        likeness, mirrored = correlation(one.coarse, others), correlation(one.coarse[::-1], others)
        one.scan["likeness"], one.scan["handedness"] = likeness, likeness - mirrored


def expected_interval(values: Sequence[float], patients: int, widening: float = 1.0) -> Interval:
    """Where the next patient's value is expected: a prediction interval of the normal distribution, never narrower than
    what was seen.

    Source: Hahn & Meeker, Statistical Intervals (1991), section 4.8.
    """
    from scipy import stats

    array = np.asarray(values, float)
    low, high = float(array.min()), float(array.max())
    middle = float(array.mean())
    half = 0.0
    if patients > 1:
        reach = stats.t.ppf(1 - TAIL / 2, patients - 1) * np.sqrt(1 + 1 / patients)
        half = float(reach * array.std(ddof=1))
    half = max(half, high - middle, middle - low)
    return Interval(middle=middle, half=half * widening)


def _intervals(figures: Sequence[tuple[str, Mapping[str, float]]], widening: float) -> dict[str, Interval]:
    """Figure → interval, from (patient, figures) pairs."""
    values: dict[str, list[float]] = defaultdict(list)
    patients: dict[str, set[str]] = defaultdict(set)
    for patient, own in figures:
        for name, value in own.items():
            values[name].append(value)
            patients[name].add(patient)
    return {name: expected_interval(values[name], len(patients[name]), widening) for name in values}


def _reference(known: Sequence[Known], study: Study, widening: float, limit: float) -> QualityReference:
    organs = {}
    for organ in study.organ_names():
        looked = [one for one in known if organ in one.looked_for]
        there = [(one.patient, one.truth[organ]) for one in looked if organ in one.truth]
        intervals = _intervals(there, widening)
        judged = [one for one in looked if one.dice is not None and one.certainty is not None]
        good = [one for one in judged if one.dice and one.dice[organ] >= limit] or judged
        if good:
            sure = [(one.patient, {"certainty": one.certainty[organ]}) for one in good if one.certainty]
            intervals |= _intervals(sure, widening)
        organs[organ] = OrganReference(
            intervals=intervals, present=len(there) / len(looked) if looked else 0.0, dice=_dice_fit(organ, judged)
        )
    coarse = np.mean([one.coarse for one in known], axis=0)
    scan = _intervals([(one.patient, one.scan) for one in known], widening)
    return QualityReference(scan=scan, coarse=[round(float(v), 4) for v in coarse.ravel()], organs=organs)


def _dice_fit(organ: str, judged: Sequence[Known]) -> tuple[float, float, float, float] | None:
    """Line of Dice on certainty by least squares, and the 5th and 95th percentile of what it leaves."""
    pairs = [(one.certainty[organ], one.dice[organ]) for one in judged if one.certainty and one.dice]
    if len({one.patient for one in judged}) < ENOUGH:
        return None
    x, y = np.array(pairs).T
    if np.ptp(x) < 1e-6:
        return None
    slope, intercept = np.polyfit(x, y, 1)
    rest = y - (slope * x + intercept)
    low, high = np.percentile(rest, [5, 95])
    return float(slope), float(intercept), float(low), float(high)


def _held_out(known: Sequence[Known], study: Study, widening: float, limit: float) -> list[tuple[bool, float]]:
    """(Dice below the limit, risk) of every organ predicted out of fold, judged by the other patients."""
    patients = sorted({one.patient for one in known})
    parts = {patient: index % PARTS for index, patient in enumerate(patients)}
    outcomes = []
    for part in range(PARTS):
        rest = [one for one in known if parts[one.patient] != part]
        if not rest:
            continue
        judge = Judge(_reference(rest, study, widening, limit))
        for one in known:
            if parts[one.patient] != part or one.found is None or one.dice is None or one.certainty is None:
                continue
            for organ, dice in one.dice.items():
                verdict = judge.of_organ(organ, one.scan, one.found.get(organ), one.certainty[organ])
                outcomes.append((dice < limit, verdict.risk))
    return outcomes


def performance(outcomes: Sequence[tuple[bool, float]]) -> dict[str, Any]:
    """How well a risk finds what is bad: counts, sensitivity, specificity and AUROC; ``None`` where undefined."""
    bad = np.array([risk for is_bad, risk in outcomes if is_bad])
    good = np.array([risk for is_bad, risk in outcomes if not is_bad])
    auroc = None
    if len(bad) and len(good):
        # The chance that a bad one has the higher risk (Mann-Whitney), ties counting half.
        apart = bad[:, None] - good[None]
        auroc = round(float((apart > 0).mean() + 0.5 * (apart == 0).mean()), 4)
    return {
        "bad": len(bad),
        "good": len(good),
        "sensitivity": round(float((bad > LOOK).mean()), 4) if len(bad) else None,
        "specificity": round(float((good <= LOOK).mean()), 4) if len(good) else None,
        "auroc": auroc,
    }
