"""Plans with their reasons, samples as augmentation makes them, and the curves of each training."""

from __future__ import annotations

import json
from typing import Any

from PIL import Image

from pipeline.core.plan import Plan
from pipeline.report import charts
from pipeline.report.data import Gathered, Training
from pipeline.report.text import DASH, count, duration, figure_text, words
from pipeline.report.views import data_uri

#: The choices that readers ask for first.
_FIRST = (
    *("spatial_dims", "network", "patch", "batch", "spacing", "size"),
    *("normalisation", "augmentation", "loss", "steps"),
)
_MOST_POINTS = 400
_SHEET = 1200


def plans(gathered: Gathered) -> dict[str, Any]:
    """Each model's plan."""
    return {"plans": [_plan(name, plan) for name, plan in gathered.plans.items()]}


def _plan(name: str, plan: Plan) -> dict[str, Any]:
    values = plan.model_dump(mode="json", exclude={"reasons"})
    order = [*_FIRST, *(key for key in values if key not in _FIRST)]
    patch = " × ".join(str(side) for side in plan.patch)
    budget = count(plan.steps, "step") if plan.steps else f"{plan.minutes:g} minutes"
    network = f"{plan.network['name']}, {plan.spatial_dims}-D, patch {patch}, batch {plan.batch}"
    rows = [(key, _value(values[key]), plan.reasons.get(key, "")) for key in order]
    return {
        "model": name,
        "summary": f"{name}: {network}, {budget}",
        "first": rows[: len(_FIRST)],
        "others": rows[len(_FIRST) :],
    }


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_value(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(_value(inner) for inner in value) + "]"
    return DASH if value is None else value if isinstance(value, str) else json.dumps(value)


def trainings(gathered: Gathered) -> dict[str, Any] | None:
    """Curves, facts and augmented samples."""
    if gathered.study.model:
        return None
    several = gathered.study.split.folds > 1
    loss: list[charts.Point] = []
    dice: list[charts.Point] = []
    for one in gathered.trainings:
        run = f"{one.model}, fold {one.fold}" if several else one.model
        for points, events, key in ((loss, one.steps, "loss"), (dice, one.validations, "mean")):
            shown = [event for event in _thinned(events) if event[key] is not None]
            points += [{"run": run, "step": event["step"], "value": event[key]} for event in shown]
    return {
        "loss": charts.training_lines(loss, "loss", "loss") if loss else None,
        "dice": charts.training_lines(dice, "Dice", "validation Dice") if dice else None,
        "last_dice": [f"{words(organ)}, last Dice" for organ in gathered.organs],
        "rows": [_facts(gathered, one) for one in gathered.trainings],
        "notes": [(f"{one.model}, fold {one.fold}", said) for one in gathered.trainings for said in _said(one)],
        "samples": _samples(gathered) if gathered.trainings else [],
    }


def _thinned(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most a few hundred of the events, the last among them."""
    every = -(-len(events) // _MOST_POINTS)
    return events[::-1][:: max(every, 1)][::-1]


def _facts(gathered: Gathered, one: Training) -> list[str]:
    last = one.validations[-1]["dice"] if one.validations else {}
    start = one.start
    threads = count(start["threads"], "thread") if start.get("threads") else ""
    return [
        f"{one.model}, fold {one.fold}",
        f"{start['parameters']:,}" if start.get("parameters") else DASH,
        str(start.get("steps", DASH)),
        duration(one.seconds),
        ", ".join(part for part in (start.get("device"), threads, start.get("precision")) if part),
        *(figure_text(last.get(organ)) for organ in gathered.organs),
    ]


def _said(one: Training) -> list[str]:
    return [*([f"went on {count(one.resumed, 'time')} after a stop"] if one.resumed else []), *one.notes]


def _samples(gathered: Gathered) -> list[dict[str, Any]]:
    """The first samples of each model's training, as one picture."""
    sheets = []
    for model in gathered.study.models:
        path = gathered.paths.model(model, 0) / "augmented.png"
        if path.is_file():
            with Image.open(path) as sheet:
                picture = sheet.convert("RGB")
            picture.thumbnail((_SHEET, _SHEET), Image.Resampling.LANCZOS)
            sheets.append({"model": model, "src": data_uri(picture), "width": picture.width, "height": picture.height})
    return sheets
