"""What a finished training leaves: weights, facts, history, journal and a picture of its augmented samples."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.core.files import write_bytes, write_table
from pipeline.core.journal import read_journal
from pipeline.inference.model_files import save_model
from pipeline.train.checkpoint import JOURNAL
from pipeline.train.engine import Engine
from pipeline.train.figure import draw_augmented


def versions() -> dict[str, str]:
    """Versions of the packages that decide on the weights."""
    return {name: importlib.metadata.version(name) for name in ("torch", "numpy", "scipy")}


def history_rows(journal: Path, organs: list[str]) -> list[dict[str, Any]]:
    """The journal as a table: one row a reported step; of steps that were repeated, the last report."""
    rows: dict[int, dict[str, Any]] = {}
    for event in read_journal(journal):
        if event["kind"] not in ("step", "validation"):
            continue
        row = rows.setdefault(event["step"], {"step": event["step"]})
        if event["kind"] == "step":
            row |= {"loss": event["loss"], "learning_rate": event["learning_rate"]}
        else:
            row["dice"] = event["mean"]
            row |= {f"dice_{organ}": event["dice"].get(organ) for organ in organs}
    return [rows[step] for step in sorted(rows)]


def write_results(
    folder: Path, facts: Mapping[str, Any], engine: Engine, colors: Mapping[str, str], checkpoints: Path
) -> None:
    """Write ``models/<model>/fold<k>/``; ``model.json`` comes last.

    Args:
        folder: Where to.
        facts: Facts about the training, with the plan under ``plan``.
        engine: The trained state; the mean of its weights is the model.
        colors: Organ → ``#rrggbb``.
        checkpoints: Folder of the checkpoint and journal.
    """
    plan = facts["plan"]
    rows = history_rows(checkpoints / JOURNAL, plan.organs)
    columns = ["step", "loss", "learning_rate", "dice", *(f"dice_{organ}" for organ in plan.organs)]
    write_table(folder / "history.csv", rows, columns)
    write_bytes(folder / JOURNAL, (checkpoints / JOURNAL).read_bytes())
    draw_augmented(engine, plan, colors, folder / "augmented.png")
    last: dict[str, Any] = next((row for row in reversed(rows) if "dice" in row), {})
    measured = {name: value for name, value in last.items() if name.startswith("dice")}
    if taken := getattr(engine.network, "taken", []):
        write_table(folder / "encoder_weights.csv", [asdict(one) for one in taken], list(asdict(taken[0])))
    plain = {name: value for name, value in facts.items() if name != "plan"}
    save_model(folder, engine.mean, plan, {**plain, "validation": measured})
