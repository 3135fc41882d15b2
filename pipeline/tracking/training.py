"""What trainings' journals say, for people: a headline for the run of one, and a picture of the curves of several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Event = Mapping[str, Any]
#: Lines told apart by people with any colour vision (Okabe & Ito); folds beyond them begin again.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")


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


def curves_picture(folds: Mapping[int, Sequence[Event]], title: str) -> str:
    """SVG: loss and mean validation Dice over the steps, a line a fold.

    Args:
        folds: Fold → its journal.
        title: A line above.
    """
    width, height, left, top = 300, 190, 56, 62
    losses = {fold: _line(events, "step", "loss") for fold, events in folds.items()}
    dices = {fold: _line(events, "validation", "mean") for fold, events in folds.items()}
    steps = max((step for lines in (losses, dices) for line in lines.values() for step, _ in line), default=1)
    values = [value for line in losses.values() for _, value in line]
    panels = (
        ("loss", losses, min([0.0, *values]), max(values, default=1.0)),
        ("validation Dice, mean of organs", dices, 0.0, 1.0),
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * (left + width) + 30}" height="{top + height + 64}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="16" y="24" font-size="15">{escape(title)}</text>',
    ]
    for place, (name, lines, low, high) in enumerate(panels):
        start = left + place * (width + left)
        scale = width / max(steps, 1), height / max(high - low, 1e-9)
        parts.append(f'<text x="{start}" y="{top - 12}" fill="#333">{name}</text>')
        for tick in range(5):
            value, y = low + (high - low) * tick / 4, top + height * (1 - tick / 4)
            parts.append(f'<path d="M{start} {y:.1f}h{width}" stroke="#ddd"/>')
            parts.append(f'<text x="{start - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{value:.2g}</text>')
        for text, at, anchor in (("0", start, "start"), (f"step {steps}", start + width, "end")):
            parts.append(f'<text x="{at}" y="{top + height + 18}" text-anchor="{anchor}" fill="#555">{text}</text>')
        for number, line in enumerate(lines.values()):
            points = " ".join(
                f"{start + step * scale[0]:.1f},{top + height - (value - low) * scale[1]:.1f}" for step, value in line
            )
            colour = LINES[number % len(LINES)]
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    for number, fold in enumerate(folds):
        x, y = left + number * 70, top + height + 46
        parts.append(f'<path d="M{x} {y - 4}h18" stroke="{LINES[number % len(LINES)]}" stroke-width="2"/>')
        parts.append(f'<text x="{x + 24}" y="{y}">fold {fold}</text>')
    return "".join([*parts, "</svg>\n"])


def _line(events: Sequence[Event], kind: str, field: str) -> list[tuple[int, float]]:
    """(step, value) in order; of repeated steps the last, without what is not finite."""
    found = {
        int(event["step"]): float(event[field])
        for event in events
        if event.get("kind") == kind and event.get(field) is not None
    }
    return [(step, value) for step, value in sorted(found.items()) if math.isfinite(value)]
