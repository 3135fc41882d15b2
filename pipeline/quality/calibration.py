"""Calibrates quality verdicts on the development patients: what is usual, and how well verdicts find what failed."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.core.files import read_table
from pipeline.core.paths import StudyPaths
from pipeline.core.scan import Array
from pipeline.core.splits import read_splits
from pipeline.core.study import Study
from pipeline.formats.store import read_labels, read_scan
from pipeline.inference.agreement import Agreement
from pipeline.inference.postprocessing import OrganSteps, clean_labels
from pipeline.inference.predictor import expected_dice
from pipeline.metrics.overlap import overlap
from pipeline.quality.dice_fit import fit_dice
from pipeline.quality.evidence import Evidence, Outcome, mean_over_organs
from pipeline.quality.judge import (
    LOOK,
    OUT_OF_FOLD,
    Judge,
    coarse_picture,
    correlation,
    dice_figures,
    organ_figures,
    scan_figures,
)
from pipeline.quality.performance import performance
from pipeline.quality.reference import DiceFit, Interval, OrganReference, QualityReference, shortfall
from pipeline.quality.sides import side_interval, side_weights, sides_by_others

#: Chance that a figure of an ordinary scan lies outside its interval, were figures normally distributed.
TAIL = 0.002
#: Factors that intervals are widened by, until false alarms are rare enough.
WIDENINGS = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)
FALSE_ALARMS = 0.08  # of good organs, at most; a tenth is promised, and held-out patients always fare a little worse
OUT_OF_ORDER = FALSE_ALARMS / 2  # of them, for what is out of the ordinary; the rest is left to the predicted Dice
PARTS = 5  # of the cross-validation over patients
ENOUGH = 16  # patients for intervals that differ above and below
#: Standard errors that a predicted Dice may at most lie above the limit where a person shall look: a chance of three in
#: ten that Dice is below it.
FIRST_ALARM = -0.5


@dataclass(frozen=True)
class Judged:
    """How a held-out organ was judged.

    Attributes:
        scan_id: Its scan.
        part: Its part of the cross-validation.
        bad: Whether its Dice is below the limit.
        odd: Risk that it is out of the ordinary.
        short: How far its predicted Dice is below the limit, in standard errors; ``None`` where none is predicted.
        predicted: Whether a model found it; otherwise it is a reader's, and good.
        covered: Whether its Dice lies in the interval that was predicted; ``None`` where none is.
    """

    scan_id: str
    part: int
    bad: bool
    odd: float
    short: float | None
    predicted: bool = True
    covered: bool | None = None


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
        dice: Organ → Dice of the prediction; 1 where neither it nor the reader has the organ, which is good.
        outcomes: How each organ came out, from which the champion's Dice is taken.
        agreement: Between whom → organ → Dice, as far as it is known out of fold: ``passes`` and ``models``.
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
    agreement: Agreement = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)


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
    outcomes: list[Judged] = []
    widening = WIDENINGS[0]
    for widening in WIDENINGS:
        outcomes = _held_out(known, study, widening, limit)
        if _alarms(outcomes, [one.odd > LOOK for one in outcomes]) <= OUT_OF_ORDER:
            break
    outcomes = [one for one in outcomes if one.predicted]
    reference = _reference(known, study, widening, limit)
    alarm = choose_alarm(outcomes)
    covered = [one.covered for one in outcomes if one.covered is not None]
    figures = {
        "dice_limit": limit,
        "widening": widening,
        "alarm": alarm,
        **performance(_risks(outcomes, reference)),
        "predicted": len(covered),
        "covered": round(float(np.mean(covered)), 4) if covered else None,
        "rests_on": _rests_on(known, study, models),
    }
    scores = [(one.scan_id, dice) for one in known for dice in mean_over_organs(one.outcomes).values()]
    return reference.model_copy(update={"mirror_pairs": pairs, "alarm": alarm, "figures": figures}), scores


def _rests_on(known: Sequence[Known], study: Study, models: Sequence[str]) -> dict[str, str]:
    """Each figure of agreement → what its limit rests on, or why there is none."""
    rests = {}
    judged = [one for one in known if one.dice is not None]
    few = f"; of an organ that fewer than {ENOUGH} patients show, by the study's limit of Dice"
    if any("passes" in one.agreement for one in judged):
        rests["passes"] = f"judged by that of good out-of-fold predictions{few}"
    else:
        rests["passes"] = "not judged, as no window was mirrored out of fold"
    if len(models) > 1:
        rests["models"] = f"judged by that of good out-of-fold predictions{few}"
    if study.split.folds > 1:
        rests["folds"] = (
            "judged by Dice of good out-of-fold predictions with the reader, as folds predict no scan together out of "
            "fold: verdicts that it changes are not in the figures of these"
        )
    return rests


def _alarms(outcomes: Sequence[Judged], rung: Sequence[bool]) -> float:
    """Share of good organs, or of scans whose organs are all good, that an alarm rings for; the larger of the two."""
    organs = [alarm for one, alarm in zip(outcomes, rung, strict=True) if not one.bad]
    spoilt = {one.scan_id for one in outcomes if one.bad}
    scans: dict[str, bool] = {}
    for one, alarm in zip(outcomes, rung, strict=True):
        if one.scan_id not in spoilt:
            scans[one.scan_id] = scans.get(one.scan_id, False) or alarm
    return max([float(np.mean(values)) for values in (organs, list(scans.values())) if values], default=0.0)


def choose_alarm(outcomes: Sequence[Judged]) -> float | None:
    """The lowest alarm that rings falsely seldom enough; ``None`` where no Dice is predicted."""
    shorts = sorted({one.short for one in outcomes if one.short is not None})
    if not shorts:
        return None
    alarms = [FIRST_ALARM, *(short for short in shorts if short > FIRST_ALARM)]

    def quiet(alarm: float) -> bool:
        rung = [one.odd > LOOK or (one.short is not None and one.short > alarm) for one in outcomes]
        return _alarms(outcomes, rung) <= FALSE_ALARMS

    # The higher the alarm, the fewer ring, so that halving finds the first that is quiet.
    return round(alarms[min(bisect_left(alarms, True, key=quiet), len(alarms) - 1)], 4)


def _risks(outcomes: Sequence[Judged], reference: QualityReference) -> list[tuple[bool, float]]:
    """(Dice below the limit, risk) of held-out organs; the alarm of each part is that of the other parts."""
    risks = []
    for part in sorted({one.part for one in outcomes}):
        alarm = choose_alarm([one for one in outcomes if one.part != part])
        judge = Judge(reference.model_copy(update={"alarm": alarm}))
        for one in outcomes:
            if one.part == part:
                risks.append((one.bad, max(one.odd, 0.0 if one.short is None else judge.dice_risk(one.short))))
    return risks


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
        # Likeness and handedness by the scan itself; by the other patients' scans once all are known.
        own_figures = scan_figures(scan, coarse, coarse)
        one = Known(row["scan_id"], row["patient_id"], coarse, own_figures, figures, truth.annotated)
        own = predicted.get(row["scan_id"])
        if own is not None:
            raw = evidence.chosen(own, models, thresholds)
            one.certainty = expected_dice(evidence.probabilities(own, models), raw)
            one.agreement = evidence.agreement(own, models)
            cleaned = clean_labels(raw, steps, scan.unit)
            one.found = organ_figures(cleaned, scan.unit, pairs)
            counted = ~truth.ignored()
            one.outcomes = [
                Outcome(own.scan_id, own.patient_id, organ, counts.case, counts.dice)
                for organ in truth.organs
                if organ in truth.annotated
                for counts in [overlap(cleaned.mask(organ) & counted, truth.mask(organ) & counted)]
            ]
            one.dice = {outcome.organ: outcome.right for outcome in one.outcomes}
        known.append(one)
    _compare_with_others(known)
    return known


def _compare_with_others(known: Sequence[Known]) -> None:
    """Likeness and handedness of each scan by the other patients' scans, in place of those by itself."""
    total = np.sum([one.coarse for one in known], axis=0)
    own: dict[str, Array] = defaultdict(lambda: np.zeros_like(total))
    for one in known:
        own[one.patient] = own[one.patient] + one.coarse
    sides = sides_by_others(np.stack([one.coarse for one in known]), [one.patient for one in known])
    for one, side in zip(known, sides, strict=True):
        one.scan["likeness"] = correlation(one.coarse, total - own[one.patient])
        one.scan["handedness"] = side


def expected_interval(values: Sequence[float], patients: int, widening: float = 1.0) -> Interval:
    """Where the next patient's value is expected: a prediction interval of the normal distribution, never narrower than
    what was seen. Of enough patients it is taken above and below the median apart, because sizes and places are skewed.

    Source: Hahn & Meeker, Statistical Intervals (1991), section 4.8.
    """
    from scipy import stats

    array = np.asarray(values, float)
    reach = stats.t.ppf(1 - TAIL / 2, patients - 1) * np.sqrt(1 + 1 / patients) if patients > 1 else 0.0
    if patients < ENOUGH:
        middle = float(array.mean())
        spread = float(array.std(ddof=1)) if patients > 1 and len(array) > 1 else 0.0
        half = max(float(reach * spread), float(array.max()) - middle, middle - float(array.min()))
        return Interval(middle=middle, half=half * widening)
    middle = float(np.median(array))
    apart = array - middle
    above, below = (
        max(float(reach * np.sqrt(np.mean(side**2))), float(side.max()))
        for side in (apart[apart >= 0], -apart[apart <= 0])
    )
    return Interval(middle=middle, half=above * widening, below=below * widening)


def _intervals(figures: Sequence[tuple[str, Mapping[str, float]]], widening: float) -> dict[str, Interval]:
    """Figure → interval, from (patient, figures) pairs."""
    values: dict[str, list[float]] = defaultdict(list)
    patients: dict[str, set[str]] = defaultdict(set)
    for patient, own in figures:
        for name, value in own.items():
            values[name].append(value)
            patients[name].add(patient)
    return {name: expected_interval(values[name], len(patients[name]), widening) for name in values}


def _agreement_intervals(
    agreed: Sequence[tuple[str, Mapping[str, float]]], widening: float, limit: float
) -> dict[str, Interval]:
    """Intervals of agreement; of few patients, whose spread says little of the next, the study's own limit of Dice.

    Two outlines that differ by more than the study lets pass cannot both be right.
    """
    if len({patient for patient, _ in agreed}) >= ENOUGH:
        return _intervals(agreed, widening)
    return {who: Interval(middle=1.0, half=round(1 - limit, 6)) for _, own in agreed for who in own}


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
            agreed = [
                (one.patient, {who: one.agreement[who][organ] for who in OUT_OF_FOLD if who in one.agreement})
                for one in good
                if one.found and organ in one.found
            ]
            intervals |= _intervals(sure, widening) | _agreement_intervals(agreed, widening, limit)
            if study.split.folds > 1:
                # Nobody knows it out of fold. Networks that were trained on mostly the same patients agree better with
                # each other than with a reader, so that less than the reader's agreement is out of the ordinary.
                with_reader = [(one.patient, {"folds": one.dice[organ]}) for one in good if one.dice]
                intervals |= _intervals(with_reader, widening)
        present = len(there) / len(looked) if looked else 0.0
        organs[organ] = OrganReference(
            intervals=intervals, present=present, dice=_dice_fit(organ, judged, intervals) if there else None
        )
    coarse = np.mean([one.coarse for one in known], axis=0)
    scan = _intervals([(one.patient, one.scan) for one in known], widening)
    seen, patients = [one.scan["handedness"] for one in known], [one.patient for one in known]
    # Not widened: what it may raise of false alarms is set by itself.
    scan["handedness"] = side_interval(seen, patients, scan["handedness"])
    flat = [round(float(value), 4) for value in coarse.ravel()]
    sides = [round(float(value), 5) for value in side_weights(np.stack([one.coarse for one in known])).ravel()]
    return QualityReference(scan=scan, coarse=flat, sides=sides, organs=organs, limit=limit)


def _dice_fit(organ: str, judged: Sequence[Known], intervals: Mapping[str, Interval]) -> DiceFit | None:
    """Dice from the figures of out-of-fold predictions, where enough patients have some."""
    rows, dice, patients = [], [], []
    for one in judged:
        if one.found and organ in one.found and one.certainty and one.dice:
            agreement = {who: values[organ] for who, values in one.agreement.items()}
            rows.append(dice_figures(one.scan, one.found[organ], one.certainty[organ], intervals, agreement))
            dice.append(one.dice[organ])
            patients.append(one.patient)
    return fit_dice(rows, dice, patients)


def _held_out(known: Sequence[Known], study: Study, widening: float, limit: float) -> list[Judged]:
    """Every organ, judged by the other patients."""
    # Scans that were predicted are spread evenly over the parts.
    predicted = {one.patient for one in known if one.dice is not None}
    patients = sorted({one.patient for one in known}, key=lambda patient: (patient not in predicted, patient))
    parts = {patient: index % PARTS for index, patient in enumerate(patients)}
    outcomes = []
    for part in range(PARTS):
        rest = [one for one in known if parts[one.patient] != part]
        if not rest:
            continue
        judge = Judge(_reference(rest, study, widening, limit))
        for one in known:
            if parts[one.patient] == part:
                outcomes += _judged(judge, one, part, limit)
    return outcomes


def _judged(judge: Judge, one: Known, part: int, limit: float) -> list[Judged]:
    """A held-out scan's organs as a model found them; as the reader drew them, where no model did."""
    if one.found is None or one.dice is None or one.certainty is None:
        drawn = {organ: judge.of_organ(organ, one.scan, one.truth[organ], None) for organ in one.truth}
        return [Judged(one.scan_id, part, False, verdict.risk, None, False) for verdict in drawn.values()]
    outcomes = []
    for organ, dice in one.dice.items():
        fit = judge.reference.organs[organ].dice
        between = {who: values[organ] for who, values in one.agreement.items()}
        verdict = judge.of_organ(organ, one.scan, one.found.get(organ), one.certainty[organ], between)
        short, covered = None, None
        if fit is not None and verdict.dice is not None:
            short = shortfall(fit, verdict.dice[0], limit)
            covered = verdict.dice[1] <= dice <= verdict.dice[2]
        outcomes.append(Judged(one.scan_id, part, dice < limit, verdict.risk, short, covered=covered))
    return outcomes
