"""From journal events to metric points: a pure function of the journal, so that delivering again finds the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.core.journal import read_journal
from pipeline.tracking.names import ALL

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


def points_of(event: Mapping[str, Any], organs: Mapping[str, str]) -> Iterator[Point]:
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


def new_points(
    events: Iterable[Mapping[str, Any]], organs: Mapping[str, str], known: set[tuple[str, int]]
) -> list[Point]:
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


def has_ended(events: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the last training in a journal came to its end."""
    ended = False
    for event in events:
        if event.get("kind") == "start":
            ended = False
        elif event.get("kind") == "end":
            ended = True
    return ended
