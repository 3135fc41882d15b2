"""What a journal's events come to: points of curves, a headline, and how the training ended.

All are pure functions of the journal, so that delivering again finds the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.core.journal import read_journal
from pipeline.tracking.names import ALL

Event = Mapping[str, Any]
#: Group of the curves of Dice, beside ``test Dice`` and ``out of fold Dice`` of the final figures.
VALIDATION = "validation Dice"
#: Fields of a ``step`` event that are curves.
STEP_METRICS = ("loss", "learning_rate", "images_per_s")


class Point(NamedTuple):
    """One value of one curve.

    Attributes:
        key: Metric key.
        value: Its value; NaN is kept, a loss may be that.
        step: Optimiser step.
        time: Milliseconds since the epoch, when the job wrote it.
    """

    key: str
    value: float
    step: int
    time: int


def points_of(event: Event, organs: Mapping[str, str]) -> Iterator[Point]:
    """The points that one event holds.

    Args:
        event: A line of the journal.
        organs: Organ → its part of a key, see :func:`pipeline.tracking.names.metric_names`.
    """
    kind = event.get("kind")
    time = round(float(event.get("time", 0)) * 1000)
    step = int(event.get("step") or 0)
    values: dict[str, Any] = {}
    if kind == "step":
        values = {name: event.get(name) for name in STEP_METRICS}
    elif kind == "validation":
        values = {f"{VALIDATION}/{organs.get(o, o)}": dice for o, dice in (event.get("dice") or {}).items()}
        values[f"{VALIDATION}/{ALL}"] = event.get("mean")
    elif kind == "system":
        values = {f"system/{name}": value for name, value in event.items() if name not in {"time", "kind", "step"}}
    elif kind == "end":
        values = {"training_seconds": event.get("seconds")}
    for key, value in values.items():
        # An organ that no validation scan has has no Dice: a gap in its curve, not a zero.
        if isinstance(value, (int, float)) and not (kind == "validation" and math.isnan(value)):
            yield Point(key, float(value), step, time)


def new_points(events: Iterable[Event], organs: Mapping[str, str], known: set[tuple[str, int]]) -> list[Point]:
    """Points whose (key, step) is not in ``known`` yet; they are added to it.

    A resumed training repeats steps. The first line wins, since it may have been delivered already and MLflow keeps
    every point it was ever given; batch t is a function of (seed, t), so both say the same.
    """
    fresh = []
    for event in events:
        for point in points_of(event, organs):
            if (point.key, point.step) not in known:
                known.add((point.key, point.step))
                fresh.append(point)
    return fresh


def first_event(path: Path) -> dict[str, Any] | None:
    """The first event of a journal, or ``None`` while there is none."""
    return next(read_journal(path), None)


def has_ended(events: Iterable[Event]) -> bool:
    """Whether the last training in a journal came to its end."""
    marks = [event["kind"] for event in events if event["kind"] in {"start", "end"}]
    return marks[-1:] == ["end"]


def training_note(events: Sequence[Event], organs: Sequence[str]) -> str:
    """Markdown: Dice of each organ at the last validation, and how far the training came.

    Args:
        events: The journal.
        organs: The organs in order.
    """
    validations = [event for event in events if event.get("kind") == "validation"]
    if not validations:
        return ""
    last = validations[-1]
    scores = {
        "**mean of organs**": last.get("mean"),
        **{organ: (last.get("dice") or {}).get(organ) for organ in organs},
    }
    rows = [f"| {name} | {'–' if value is None else f'{value:.3f}'} |" for name, value in scores.items()]
    starts = [event for event in events if event.get("kind") == "start"]
    steps = starts[-1].get("steps") if starts else None
    scans = last.get("scans")
    words = [
        f"Step {last['step']}" + (f" of {steps}" if steps else ""),
        f"{scans} scans" if scans else "",
        *(f"trained {event['seconds']:.0f} s" for event in events[-1:] if event.get("seconds") is not None),
        *(f"device {start['device']}" for start in starts[-1:] if start.get("device")),
        f"continued {len(starts) - 1} ×" if len(starts) > 1 else "",
    ]
    return "\n".join(
        ["| organ | Dice, validation |", "| --- | --- |", *rows, "", ", ".join(word for word in words if word) + "."]
    )


def curve(events: Sequence[Event], kind: str, field: str) -> list[tuple[int, float]]:
    """(step, value) in order; of repeated steps the last, without what is not finite."""
    found = {
        int(event["step"]): float(event[field])
        for event in events
        if event.get("kind") == kind and event.get(field) is not None
    }
    return [(step, value) for step, value in sorted(found.items()) if math.isfinite(value)]
