"""Which models predict together, and how each organ is cleaned up: a step stays if it helps beyond its interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pipeline.core.say import Say
from pipeline.core.study import Study
from pipeline.inference.postprocessing import OrganSteps, voxel_size
from pipeline.metrics.statistics import Paired, compare_paired, describe
from pipeline.quality.evidence import Evidence, mean_over_organs

THRESHOLDS = (0.3, 0.35, 0.4, 0.45, 0.55, 0.6, 0.65, 0.7)
ENOUGH = 5  # patients below which a bootstrap interval means little
RULE = (
    "Mean Dice over organs, per patient, out of fold; 1 where prediction and reference are both empty. The ensemble, "
    "and each clean-up step of an organ, is kept if the lower bound of the 95 % bootstrap interval of its paired gain "
    f"is above 0 over at least {ENOUGH} patients. Where a step has several forms, each patient's gain is that of the "
    "form which the other patients choose."
)


def choose_models(study: Study, evidence: Evidence, say: Say) -> tuple[list[str], list[dict[str, Any]]]:
    """The models that predict together, and the evidence: single models, and the mean of all."""
    means = {model: mean_over_organs(evidence.scores([model])) for model in evidence.models}
    best = max(evidence.models, key=lambda model: float(np.mean(list(means[model].values()))))
    chosen = [best]
    rows = [_candidate(study, [model], means[model], means[best] if model != best else None) for model in means]
    if study.select.ensembles and len(evidence.models) > 1:
        together = mean_over_organs(evidence.scores(evidence.models))
        row = _candidate(study, evidence.models, together, means[best])
        rows.append(row)
        if _proven(compare_paired(together, means[best], study.evaluate.bootstrap)):
            chosen = list(evidence.models)
    for row in rows:
        row["chosen"] = row["models"] == chosen
        say(f"{' + '.join(row['models'])}: Dice {row['dice']:.4f} out of fold" + (", chosen" if row["chosen"] else ""))
    return chosen, rows


def _candidate(
    study: Study, models: list[str], means: dict[str, float], best: dict[str, float] | None
) -> dict[str, Any]:
    summary = describe(means, study.evaluate.bootstrap)
    row: dict[str, Any] = {
        "models": list(models),
        "dice": _rounded(summary.mean),
        "low": _rounded(summary.low),
        "high": _rounded(summary.high),
        "against_best": None,
    }
    if best is not None:
        row["against_best"] = _gain(compare_paired(means, best, study.evaluate.bootstrap))
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
            if organ not in scores[""]:
                continue  # nobody looked for it in a scan that was predicted
            named = {name: scores[name][organ] for name, todo in options.items() if organ in todo and name in scores}
            if not named:
                continue
            best = _best(named)
            gain = compare_paired(_held_out(named), scores[""][organ], study.evaluate.bootstrap)
            kept = _proven(gain)
            rows.append({"organ": organ, "step": best, **_gain(gain), "kept": kept})
            if kept:
                steps[organ] = options[best][organ]
                say(f"{organ}: {best} gains {gain.difference:+.4f} Dice and is kept")
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
