"""Drafting a manifest from the folders that people have."""

import json
from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.ingest.drafts import draft


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def test_folders_of_images_and_masks(tmp_path: Path) -> None:
    make(tmp_path, "images/a.png", "images/b.png", "masks/a.png", "masks/z.png")
    found = draft(tmp_path)
    assert [(r["scan_id"], r["mask"]) for r in found.rows] == [("a", "masks/a.png"), ("b", "")]
    assert found.left_out["masks of no scan"] == ["masks/z.png"]
    assert found.summary()[:3] == ["2 scans, 2 patients", "masks: all organs in one file 1", "1 scan has no mask"]


def test_one_folder_an_organ(tmp_path: Path) -> None:
    make(tmp_path, "images/a.png", "masks/heart/a.png", "masks/left_lung/a.png")
    (row,) = draft(tmp_path).rows
    assert row["mask_heart"] == "masks/heart/a.png"
    assert row["mask_left_lung"] == "masks/left_lung/a.png"


def test_masks_beside_their_images(tmp_path: Path) -> None:
    make(tmp_path, "case1.nii.gz", "case1_seg.nii.gz", "case2.nii.gz")
    assert [(r["scan_id"], r["mask"]) for r in draft(tmp_path).rows] == [
        ("case1", "case1_seg.nii.gz"),
        ("case2", ""),
    ]


def test_decathlon(tmp_path: Path) -> None:
    content = {
        "labels": {"0": "background", "1": "liver"},
        "training": [{"image": "./imagesTr/l_1.nii.gz", "label": "./labelsTr/l_1.nii.gz"}],
        "test": ["./imagesTs/l_2.nii.gz"],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    make(tmp_path, "imagesTr/l_1.nii.gz", "labelsTr/l_1.nii.gz", "imagesTs/l_2.nii.gz", "imagesTr/._l_1.nii.gz")
    found = draft(tmp_path)
    assert [(r["scan_id"], r["mask"]) for r in found.rows] == [("l_1", "labelsTr/l_1.nii.gz"), ("l_2", "")]
    assert "1 liver" in " ".join(found.notes)


def test_nnunet_with_two_channels(tmp_path: Path) -> None:
    make(tmp_path, "imagesTr/b_001_0000.nii.gz", "imagesTr/b_001_0001.nii.gz", "labelsTr/b_001.nii.gz")
    content = {"channel_names": {"0": "T1", "1": "FLAIR"}, "labels": {"background": 0, "tumour": 1}}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    (row,) = draft(tmp_path).rows
    assert row["image"] == "imagesTr/b_001_0000.nii.gz;imagesTr/b_001_0001.nii.gz"
    assert row["mask"] == "labelsTr/b_001.nii.gz"


def test_bids_groups_by_subject(tmp_path: Path) -> None:
    (tmp_path / "dataset_description.json").write_text("{}")
    make(
        tmp_path,
        "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz",
        "derivatives/man/sub-01/ses-1/anat/sub-01_ses-1_dseg.nii.gz",
    )
    rows = draft(tmp_path).rows
    assert {r["patient_id"] for r in rows} == {"sub-01"}
    assert [bool(r["mask"]) for r in rows] == [True, False]


def test_nothing_found_is_said(tmp_path: Path) -> None:
    make(tmp_path, "notes.txt")
    with pytest.raises(InputError, match="holds no scan"):
        draft(tmp_path)
