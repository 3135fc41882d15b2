"""The BIDS derivative: names, tables, and what another reader finds in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.core.files import read_table
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.export import run
from pipeline.export.bids import bids_names, write_bids
from pipeline.formats.nifti.labels import stored_grid, write_nifti
from pipeline.ingest.drafts import draft
from tests.predict.studies import ORGANS, make_study, phantom

Made = tuple[Study, StudyPaths]


def test_names_keep_entities_and_hide_patients() -> None:
    names = bids_names({"sub-01_ses-2_T1w": "sub-01", "case-7": "Mueller", "case8": "Mueller", "x": "Meier"})
    assert names == {
        "sub-01_ses-2_T1w": "sub-01_ses-2",
        "case-7": "sub-0002_acq-case7",
        "case8": "sub-0002_acq-case8",
        "x": "sub-0003_acq-x",
    }
    both = bids_names({"sub-1_T1w": "sub-1", "sub-1_T2w": "sub-1"})
    assert both == {"sub-1_T1w": "sub-1_space-T1w", "sub-1_T2w": "sub-1_space-T2w"}
    with pytest.raises(InputError, match="would both be called"):
        bids_names({"a-b": "p", "ab": "p"})


def test_exclusive_organs_are_one_dseg_that_a_draft_finds_again(tmp_path: Path) -> None:
    scan, masks = phantom(1)
    labels = LabelMap.from_masks(masks, scan.affine, ORGANS, overlapping=False)
    study = make_study(organs={"left": {"value": 3}, "right": {"value": 7}})
    rows = write_bids(study, "unet", tmp_path, "sub-01_T1w", "sub-01", scan, labels)
    assert [row["status"] for row in rows] == ["ok", "ok"]
    root = tmp_path / "bids" / "derivatives" / "organseg"
    image = nib.load(root / "sub-01" / "anat" / "sub-01_desc-organseg_dseg.nii.gz")
    for organ, value in (("left", 3), ("right", 7)):
        np.testing.assert_array_equal(np.asarray(image.dataobj) == value, scan.to_stored(labels.mask(organ)))
    table = (root / "desc-organseg_dseg.tsv").read_text().splitlines()
    assert [line.split("\t")[:2] for line in table] == [["index", "name"], ["3", "left"], ["7", "right"]]
    about = json.loads((root / "dataset_description.json").read_text())
    assert about["DatasetType"] == "derivative"
    assert about["GeneratedBy"][0]["Name"] == "organseg"

    tree = tmp_path / "tree"
    shutil.copytree(tmp_path / "bids", tree)
    write_nifti(tree / "sub-01/anat/sub-01_T1w.nii.gz", scan.to_stored(scan.voxels[0]), stored_grid(scan).affine, "mm")
    (tree / "dataset_description.json").write_text("{}")
    found = draft(tree)
    assert [row["mask"] for row in found.rows] == ["derivatives/organseg/sub-01/anat/sub-01_desc-organseg_dseg.nii.gz"]
    assert "Labels of derivatives/organseg/desc-organseg_dseg.tsv: 3 left, 7 right." in found.notes


def test_overlapping_organs_are_a_mask_each(tmp_path: Path) -> None:
    scan, masks = phantom(1, flat=True)
    labels = LabelMap.from_masks(masks, scan.affine, ORGANS, overlapping=True)
    study = make_study(modality="xray", overlapping=True)
    rows = write_bids(study, "unet", tmp_path, "s1", "sub-0001_acq-s1", scan, labels)
    assert [row["status"] for row in rows] == ["ok", "ok"]
    place = tmp_path / "bids" / "derivatives" / "organseg" / "sub-0001" / "anat"
    image = nib.load(place / "sub-0001_acq-s1_label-left_desc-organseg_mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj) > 0, scan.to_stored(labels.mask("left")))


def test_a_study_is_exported(predicted: Callable[..., Made]) -> None:
    study, paths = predicted(formats=["bids"])
    run(study, paths)
    rows = read_table(paths.exports / "checks.csv")
    assert {(row["format"], row["status"]) for row in rows} == {("bids", "ok")}
    files = sorted((paths.exports / "bids").rglob("*_dseg.nii.gz"))
    assert len(files) == len({row["scan_id"] for row in rows})


def test_a_file_that_differs_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan, masks = phantom(1)
    labels = LabelMap.from_masks(masks, scan.affine, ORGANS, overlapping=False)
    monkeypatch.setattr(
        "pipeline.export.bids.write_nifti", lambda path, data, *rest: write_nifti(path, data * 0, *rest)
    )
    rows = write_bids(make_study(), "unet", tmp_path, "s1", "sub-0001_acq-s1", scan, labels)
    assert {row["status"] for row in rows} == {"failed"}
    assert not list((tmp_path / "bids").rglob("*.nii.gz"))
    assert list((tmp_path / "failed").rglob("*_dseg.nii.gz"))
