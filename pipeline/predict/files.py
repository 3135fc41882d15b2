"""Single scans without a study: segmented by one model, written by whoever knows the forms, judged, noted in tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.files import write_json, write_table
from pipeline.core.labels import LabelMap
from pipeline.core.scan import Scan
from pipeline.core.units import size_unit, voxel_amount
from pipeline.formats.correction import FOLDER, finish, put_aside
from pipeline.formats.decoders import next_scan
from pipeline.formats.noticed import noticed
from pipeline.inference.flow import Outcome, predict_scans
from pipeline.inference.predictor import Prediction
from pipeline.inference.slices import PLANES, slice_axis
from pipeline.predict.inputs import Input
from pipeline.predict.model import Model
from pipeline.quality.judge import Verdict

COLUMNS = ("scan_id", "organ", "status", "size", "unit", "verdict", "predicted_dice", "seconds", "findings")
DOUBTFUL = ("look", "fail")

Organs = list[dict[str, Any]]
#: Writes what was found in a scan of this name; it raises ``InputError`` where the file that it wrote does not hold it.
Write = Callable[[str, Scan, Prediction], None]


def predict_files(
    inputs: Sequence[Input], model: Model, write: Write, out: Path, *, threads: int | None = None
) -> Iterator[Outcome[Input, Organs]]:
    """Segment scans, write each, judge it, and put aside what is doubtful for a person to correct.

    Args:
        inputs: The scans.
        model: What segments them.
        write: Writes the forms that were asked for.
        out: Folder whose part ``correction/`` takes the doubtful ones.
        threads: Processor threads that were granted; by default those of the process.

    Yields:
        An outcome a scan, in order: a row an organ, or what went wrong.
    """
    values = model.champion.as_study().values()

    def read(one: Input) -> Scan:
        next_scan()
        return one.read()

    def deliver(one: Input, scan: Scan, prediction: Prediction) -> Organs:
        write(one.name, scan, prediction)
        rows = organ_rows(scan, prediction.labels, model.verdicts(scan, prediction))
        # Of the whole scan, so it is said once.
        said = [sentence for _, sentence in noticed(scan.notes, scan.modality)]
        if model.predictor.takes_slices(scan):
            plane = PLANES[slice_axis(scan)]
            said.append(f"its {plane} slices were segmented one by one, as the pictures that the model was made for")
        rows[0]["findings"] = "; ".join([*said, *filter(None, [rows[0]["findings"]])])
        if any(row["verdict"] in DOUBTFUL for row in rows):
            put_aside(out / FOLDER, one.name, scan, prediction.labels, values)
        return rows

    return predict_scans(inputs, model.predictor, read, deliver, threads=threads)


def write_tables(out: Path, model: Model, outcomes: Sequence[Outcome[Input, Organs]]) -> None:
    """Write ``predictions.csv``, ``model.json`` (which model it was), and ``correction/todo.csv`` where there is doubt.

    None of them names a source.
    """
    rows = [row for outcome in outcomes for row in table_rows(outcome)]
    write_table(out / "predictions.csv", rows, COLUMNS)
    doubtful = [row for row in rows if row["status"] == "ok" and row["verdict"] in DOUBTFUL]
    if doubtful:
        write_table(out / FOLDER / "todo.csv", doubtful, COLUMNS)
    finish(out / FOLDER)
    finish(out, "nifti")
    champion = model.champion
    write_json(out / "model.json", {"name": champion.name, "study": champion.study, "organs": champion.organs})


def organ_rows(scan: Scan, labels: LabelMap, verdicts: Mapping[str, Verdict]) -> Organs:
    """A row an organ: its size with its unit, and its verdict."""
    amount = voxel_amount(labels.grid.spacing, scan.unit, flat=scan.is_flat)
    unit = size_unit(scan.unit, flat=scan.is_flat)
    rows = []
    for organ in labels.organs:
        verdict = verdicts.get(organ)
        rows.append(
            {
                "organ": organ,
                "status": "ok",
                "size": float(f"{np.count_nonzero(labels.mask(organ)) * amount:.6g}"),
                "unit": unit,
                "verdict": verdict.verdict if verdict else "",
                "predicted_dice": verdict.dice_text if verdict else "",
                "findings": "; ".join(verdict.reasons) if verdict else "",
            }
        )
    return rows


def table_rows(outcome: Outcome[Input, Organs]) -> list[dict[str, Any]]:
    """Rows of ``predictions.csv`` of one scan."""
    shared = {"scan_id": outcome.item.name, "seconds": f"{outcome.seconds:.2f}"}
    if outcome.result is None:
        reason = outcome.reason.replace(outcome.item.source, "the file")
        return [{**shared, "status": "failed", "verdict": "fail", "findings": reason}]
    return [{**shared, **row} for row in outcome.result]
