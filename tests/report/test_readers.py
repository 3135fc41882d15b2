"""Readers' agreement beside the model's, over the same scans."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pipeline import report
from pipeline.core.files import read_table, write_table
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.report.results import readers


def test_readers_and_model_are_compared_on_the_scans_that_several_read() -> None:
    figures: Any = SimpleNamespace(
        rows=[
            {"scan_id": scan, "patient_id": patient, "model": model, "organ": "femur", "dice": dice}
            for scan, patient, model, dice in (
                ("a", "p", "champion", "0.8"),
                ("b", "q", "champion", "0.6"),
                ("b", "q", "unet", "0.1"),
                ("c", "r", "champion", "0.1"),
                ("d", "s", "champion", ""),
            )
        ]
    )
    agreed = {"a": "0.9", "b": "0.8", "c": "", "d": "0.7"}
    gathered: Any = SimpleNamespace(
        organs=["femur", "tibia"],
        study=SimpleNamespace(evaluate=SimpleNamespace(bootstrap=200)),
        by_scan={scan: {"readers_dice_femur": dice} for scan, dice in agreed.items()},
    )
    (row,) = readers(gathered, figures)
    assert row == ["femur", "0.850 (0.800–0.900)", "0.700 (0.600–0.800)", "2", "2"]
    gathered.by_scan["b"]["readers_dice_femur"] = ""
    assert readers(gathered, figures) == [["femur", "0.900", "0.800", "1", "1"]], "one patient has no interval"
    gathered.by_scan = {scan: {} for scan in agreed}
    assert readers(gathered, figures) == []


def test_the_page_shows_it_where_several_read(finished: tuple[Study, StudyPaths], tmp_path: Path) -> None:
    study, paths = finished
    shutil.copytree(paths.root, tmp_path / "read")
    own = StudyPaths(paths.study, tmp_path / "read")
    organ = study.organ_names()[0]
    rows = [{**row, f"readers_dice_{organ}": "0.875"} for row in read_table(own.scans_csv)]
    write_table(own.scans_csv, rows, list(rows[0]))
    page = report.build(study, own)
    assert "How far readers agree, and how far the model does" in page
    assert "0.875" in page
    assert "How far readers agree, and how far the model does" not in report.build(study, paths)
