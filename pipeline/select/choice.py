"""Which models predict together, and how each organ is cleaned up: a step stays if it helps beyond its interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pipeline.core.say import Say
from pipeline.core.study import Study
from pipeline.inference.postprocessing import OrganSteps, voxel_size
from pipeline.metrics.empty import DICE_PRESENT, FALSE_ALARM, PRESENCE, SHORT_RULE
from pipeline.metrics.statistics import Paired, compare_paired, describe
from pipeline.quality.evidence import Evidence, Outcome, mean_over_organs

THRESHOLDS = (0.3, 0.35, 0.4, 0.45, 0.55, 0.6, 0.65, 0.7)
ENOUGH = 5  # patients below which a bootstrap interval means little
RULE = (
    "Dice is the mean over the organs of a scan, then over a patient's scans, then over patients, out of fold. "
    f"{SHORT_RULE} Beside it stand Dice on the scans that have the organ, and the share of false alarms on those that "
    "have not. The ensemble is kept if the lower bound of the 95 % bootstrap interval of its paired gain is above 0 "
    f"over at least {ENOUGH} patients and it makes up organs no more often. A clean-up step of an organ is kept by the "
    "same bound of its gain, which is of Dice, and where the reader has no organ, of 1 for none left and 0 for one "
    "made up. Where a step has several forms, each patient's gain is that of the form which the other patients choose."
)


def choose_models(study: Study, evidence: Evidence, say: Say) -> tuple[list[str], list[dict[str, Any]]]:
    """The models that predict together, and the evidence: single models, and the mean of all."""
    outcomes = {model: evidence.outcomes([model]) for model in evidence.models}
    means = {model: mean_over_organs(own) for model, own in outcomes.items()}
    best = max(evidence.models, key=lambda model: float(np.mean(list(means[model].values()) or [-1.0])))
    chosen = [best]
    rows = [_candidate(study, [model], own, means[best] if model != best else None) for model, own in outcomes.items()]
    if study.select.ensembles and len(evidence.models) > 1:
        together = evidence.outcomes(evidence.models)
        row = _candidate(study, evidence.models, together, means[best])
        rows.append(row)
        gain = compare_paired(mean_over_organs(together), means[best], study.evaluate.bootstrap, study.seed)
        alone = next(one for one in rows if one["models"] == [best])
        if _proven(gain) and (row[FALSE_ALARM] or 0) <= (alone[FALSE_ALARM] or 0):
            chosen = list(evidence.models)
    for row in rows:
        row["chosen"] = row["models"] == chosen
        say(f"{' + '.join(row['models'])}: {_told(row)} out of fold" + (", chosen" if row["chosen"] else ""))
    return chosen, rows


def _told(row: dict[str, Any]) -> str:
    dice = "not defined" if row["dice"] is None else f"{row['dice']:.4f}"
    if row[FALSE_ALARM] is None:
        return f"Dice {dice}"
    present = "" if row[DICE_PRESENT] is None else f", {row[DICE_PRESENT]:.4f} where the organ is"
    return f"Dice {dice}{present}, {row[FALSE_ALARM]:.0%} false alarms where it is not,"


def _candidate(
    study: Study, models: list[str], outcomes: list[Outcome], best: dict[str, float] | None
) -> dict[str, Any]:
    means = mean_over_organs(outcomes)
    summary = describe(means, study.evaluate.bootstrap, study.seed)
    row: dict[str, Any] = {
        "models": list(models),
        "dice": _rounded(summary.mean),
        "low": _rounded(summary.low),
        "high": _rounded(summary.high),
        **{name: _rounded(describe(mean_over_organs(outcomes, name), 1).mean) for name in PRESENCE},
        "against_best": None,
    }
    if best is not None:
        row["against_best"] = _gain(compare_paired(means, best, study.evaluate.bootstrap, study.seed))
    return row


def _gain(paired: Paired) -> dict[str, float | None]:
    return {
        "difference": _rounded(paired.difference),
        "low": _rounded(paired.low),
        "high": _rounded(paired.high),
    }


def _rounded(value: float) -> float | None:
    return round(float(value), 5) if np.isfinite(value) else None


def choose_steps(
    study: Study, evidence: Evidence, models: list[str], say: Say
) -> tuple[dict[str, OrganSteps], list[dict[str, Any]]]:
    """Each organ's clean-up, tried step by step, and the evidence for and against each step."""
    organs = study.organ_names()
    steps = {organ: OrganSteps() for organ in organs}
    rows: list[dict[str, Any]] = []
    trials: list[Callable[[str, OrganSteps], dict[str, OrganSteps]]] = []
    if study.overlapping:
        trials.append(_with_threshold)
    if study.select.postprocessing:
        smallest = _smallest_sizes(study, evidence)
        trials += [
            lambda organ, now: {"largest_component": now.model_copy(update={"largest_component": True})},
            lambda organ, now: {"fill_holes": now.model_copy(update={"fill_holes": True})},
            lambda organ, now: (
                {}
                if now.largest_component or not smallest.get(organ)
                else {f"smallest {smallest[organ]:g}": now.model_copy(update={"smallest": smallest[organ]})}
            ),
        ]
    for trial in trials:
        options: dict[str, dict[str, OrganSteps]] = {}
        for organ in organs:
            for name, changed in trial(organ, steps[organ]).items():
                options.setdefault(name, {})[organ] = changed
        if not options:
            continue
        scores = evidence.step_scores(models, steps, options)
        for organ in organs:
            if organ not in scores.get("", {}):
                continue  # nobody looked for it in a scan that was predicted
            named = {
                name: scores[name][organ]
                for name, todo in options.items()
                if organ in todo and organ in scores.get(name, {})
            }
            if not named:
                continue
            best = _best(named)
            gain = compare_paired(_held_out(named), scores[""][organ], study.evaluate.bootstrap, study.seed)
            kept = _proven(gain)
            rows.append({"organ": organ, "step": best, **_gain(gain), "kept": kept})
            if kept:
                steps[organ] = options[best][organ]
                say(f"{organ}: {best} gains {gain.difference:+.4f} and is kept")
    return {organ: todo for organ, todo in steps.items() if todo != OrganSteps()}, rows


def _with_threshold(organ: str, now: OrganSteps) -> dict[str, OrganSteps]:
    return {f"threshold {value}": now.model_copy(update={"threshold": value}) for value in THRESHOLDS}


def _best(options: Mapping[str, Mapping[str, float]], without: str | None = None) -> str:
    """The option with the highest mean over the patients, one of them left out where asked."""
    return max(options, key=lambda name: float(np.mean([v for p, v in options[name].items() if p != without] or [0.0])))


def _held_out(options: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Patient → figure with the option that the other patients choose, so that choosing gains nothing by itself."""
    patients = next(iter(options.values()))
    return {patient: options[_best(options, patient)][patient] for patient in patients}


def _proven(gain: Paired) -> bool:
    """Whether a gain is beyond its interval, of enough patients for the interval to mean something."""
    return bool(gain.n >= ENOUGH and gain.low > 0)


def _smallest_sizes(study: Study, evidence: Evidence) -> dict[str, float]:
    """Organ → half of its smallest reference, to three digits, in the unit of :attr:`OrganSteps.smallest`."""
    sizes: dict[str, float] = {}
    for scan, reference in evidence.each():
        for organ in reference.present():
            size = float(np.count_nonzero(reference.mask(organ))) * voxel_size(reference.grid, scan.unit)
            sizes[organ] = min(size, sizes.get(organ, size))
    return {organ: float(f"{size / 2:.3g}") for organ, size in sizes.items()}
