"""Plans with their reasons, samples as augmentation makes them, and the curves of each training."""

from __future__ import annotations

import json
from typing import Any

from PIL import Image

from pipeline.core.plan import Plan
from pipeline.report import charts
from pipeline.report.data import Gathered, Training
from pipeline.report.html import (
    DASH,
    Html,
    chart,
    count,
    details,
    element,
    figure_text,
    join,
    listed,
    paragraph,
    section,
    table,
    words,
)
from pipeline.report.views import data_uri

#: The choices that readers ask for first.
_FIRST = (
    "spatial_dims",
    "network",
    "patch",
    "batch",
    "spacing",
    "size",
    "normalisation",
    "augmentation",
    "loss",
    "steps",
)
_MOST_POINTS = 400
_SHEET = 1200


def plan_section(gathered: Gathered) -> Html:
    """Each model's plan."""
    if gathered.study.model:
        champion = gathered.champion
        line = "The study applies a trained model; its plan lies in the model's folder."
        if champion is not None:
            line += f" Networks: {', '.join(member.folder for member in champion.members)}."
        return section("plan", "Plan", paragraph(line))
    if not gathered.plans:
        return section("plan", "Plan", paragraph("Nothing has been planned yet."))
    parts = [
        details(_summary(name, plan), _plan_table(plan), opened=index == 0)
        for index, (name, plan) in enumerate(gathered.plans.items())
    ]
    lead = "Every value with its reason. Plans name no device: they give the same model wherever they run."
    return section("plan", "Plan", *parts, lead=lead)


def _summary(name: str, plan: Plan) -> str:
    patch = " × ".join(str(side) for side in plan.patch)
    budget = count(plan.steps, "step") if plan.steps else f"{plan.minutes:g} minutes"
    return f"{name}: {plan.network['name']}, {plan.spatial_dims}-D, patch {patch}, batch {plan.batch}, {budget}"


def _plan_table(plan: Plan) -> Html:
    values = plan.model_dump(mode="json", exclude={"reasons"})
    order = [*_FIRST, *(name for name in values if name not in _FIRST)]
    rows = [
        [words(name), element("code", _value(values[name])), element("span", plan.reasons.get(name, ""))]
        for name in order
    ]
    head, first = ("choice", "value", "reason"), len(_FIRST)
    rest = table(head, rows[first:], caption=f"Plan of {plan.model}, continued")
    return join([table(head, rows[:first], caption=f"Plan of {plan.model}"), details("All other values", rest)])


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_value(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(_value(inner) for inner in value) + "]"
    return DASH if value is None else value if isinstance(value, str) else json.dumps(value)


def training_section(gathered: Gathered) -> Html:
    """Curves, facts and augmented samples."""
    if gathered.study.model:
        return Html("")
    if not gathered.trainings:
        return section("training", "Training", paragraph("Nothing has been trained yet."))
    return section(
        "training",
        "Training",
        _curves(gathered),
        _facts(gathered),
        _augmented(gathered),
    )


def _curves(gathered: Gathered) -> Html:
    several = gathered.study.split.folds > 1
    loss, dice = [], []
    for one in gathered.trainings:
        run = f"{one.model}, fold {one.fold}" if several else one.model
        loss += [
            {"run": run, "step": e["step"], "value": e["loss"]} for e in _thinned(one.steps) if e["loss"] is not None
        ]
        dice += [
            {"run": run, "step": e["step"], "value": e["mean"]}
            for e in _thinned(one.validations)
            if e["mean"] is not None
        ]
    plots = []
    if loss:
        plots.append(
            chart(
                "loss",
                charts.training_lines(loss, "loss", "loss"),
                "Training loss",
                "As reported while training, unsmoothed.",
            )
        )
    if dice:
        caption = "Mean Dice over organs on the validation patients of the fold, by the averaged weights."
        plots.append(chart("dice", charts.training_lines(dice, "Dice", "validation Dice"), "Validation Dice", caption))
    return element("div", join(plots), class_="plots")


def _thinned(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most a few hundred of the events, the last among them."""
    every = -(-len(events) // _MOST_POINTS)
    return events[::-1][:: max(every, 1)][::-1]


def _facts(gathered: Gathered) -> Html:
    rows = []
    for one in gathered.trainings:
        last = one.validations[-1]["dice"] if one.validations else {}
        start = one.start
        threads = count(start["threads"], "thread") if start.get("threads") else ""
        rows.append(
            [
                f"{one.model}, fold {one.fold}",
                f"{start['parameters']:,}" if start.get("parameters") else DASH,
                str(start.get("steps", DASH)),
                duration(one.seconds),
                ", ".join(part for part in (start.get("device"), threads, start.get("precision")) if part),
                *(figure_text(last.get(organ)) for organ in gathered.organs),
            ]
        )
    head = ("training", "parameters", "steps", "time", "device", *(f"{words(o)}, last Dice" for o in gathered.organs))
    note = "Dice on the validation patients of the fold at the last step: neither an out-of-fold nor a test figure."
    notes = [f"{one.model}, fold {one.fold}: {text}" for one in gathered.trainings for text in _said(one)]
    return join([table(head, rows, caption="Trainings", note=note), listed(notes, "note")])


def _said(one: Training) -> list[str]:
    resumed = [f"went on {count(one.resumed, 'time')} after a stop"] if one.resumed else []
    return [*resumed, *one.notes]


def duration(seconds: float | None) -> str:
    """Seconds as a person says them."""
    if seconds is None:
        return DASH
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _augmented(gathered: Gathered) -> Html:
    figures = []
    for model in gathered.study.models:
        path = gathered.paths.model(model, 0) / "augmented.png"
        if not path.is_file():
            continue
        with Image.open(path) as sheet:
            picture = sheet.convert("RGB")
        picture.thumbnail((_SHEET, _SHEET), Image.Resampling.LANCZOS)
        alt = f"Augmented training samples of {model} with the outlines of their organs"
        image = Html(f'<img src="{data_uri(picture)}" alt="{alt}" width="{picture.width}" height="{picture.height}">')
        caption = f"{model}: the first samples as training sees them, with the outlines that it learns from."
        figures.append(element("figure", join([image, element("figcaption", caption)]), class_="sheet"))
    if not figures:
        return Html("")
    return join([element("h3", "Augmented samples"), element("div", join(figures), class_="sheets")])
