"""Regions that contain each other, from the source's label values through a network and back to them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from place import SMALL, make_place, run

from pipeline.core.files import read_table
from pipeline.core.plan import read_plan
from tests.field.making import grey, write_nifti, write_study

pytestmark = pytest.mark.slow
ORGANS = {"whole": {"values": [1, 2, 4]}, "core": {"values": [1, 4]}, "enhancing": {"values": [4]}}


def test_regions_go_through_the_workflow_and_back(tmp_path: Path) -> None:
    folder = make_place(tmp_path / "study")
    rows = []
    for number in range(8):
        source = np.zeros((32, 32, 6), np.uint8)
        source[5:22, 6:25, 1:5] = 2
        source[8:18, 9:20, 1:5] = 1
        source[11:15, 12:16, 1:5] = 4 if number % 2 else 1
        write_nifti(folder / "data" / f"{number}.nii.gz", grey((32, 32, 6), number) + source.astype(np.int16) * 400)
        write_nifti(folder / "data" / f"{number}_seg.nii.gz", source)
        files = {"image": f"{number}.nii.gz", "mask": f"{number}_seg.nii.gz"}
        rows.append({"scan_id": f"s{number}", "patient_id": f"p{number}", **files})
    write_study(
        folder,
        rows,
        organs=ORGANS,
        data_root="data",
        ingest={"shards": 1},
        budget={"steps": 6},
        evaluate={"bootstrap": 100},
        models={"unet": {"dims": 2, "plan": {"patch": [32, 32], "batch": 2, "network": SMALL}}},
        export={"formats": ["nifti", "source_labels"], "source_order": list(ORGANS)},
    )
    run(folder, "--config", "study=s")
    results = folder / "results" / "s"
    assert read_plan(results / "plans" / "unet.yaml").overlapping
    assert {row["status"] for row in read_table(results / "exports" / "checks.csv")} == {"ok"}
    for file in (results / "exports" / "source_labels").glob("*.nii.gz"):
        painted = np.asarray(nib.load(file).dataobj)
        organs = {
            organ: results / "exports" / "nifti" / file.name.split(".")[0] / f"{organ}.nii.gz" for organ in ORGANS
        }
        inner, core, whole = (np.asarray(nib.load(organs[o]).dataobj) > 0 for o in ("enhancing", "core", "whole"))
        np.testing.assert_array_equal(painted, np.select([inner, core, whole], [4, 1, 2], 0))
    assert len(list((results / "exports" / "source_labels").glob("*.nii.gz"))) > 0
