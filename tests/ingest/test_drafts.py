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


def test_nnunet_version_1_lists_files_without_channels(tmp_path: Path) -> None:
    make(tmp_path, *(f"Task501/imagesTr/h_{n}_000{c}.nii.gz" for n in (1, 2) for c in (0, 1)))
    make(tmp_path, "Task501/labelsTr/h_1.nii.gz", "Task501/labelsTr/h_2.nii.gz", "Task501/imagesTs/h_3_0000.nii.gz")
    content = {
        "modality": {"0": "T1", "1": "T2"},
        "labels": {"0": "background", "1": "tumour"},
        "training": [{"image": f"./imagesTr/h_{n}.nii.gz", "label": f"./labelsTr/h_{n}.nii.gz"} for n in (1, 2)],
        "test": ["./imagesTs/h_3.nii.gz", "./imagesTs/h_4.nii.gz"],
    }
    (tmp_path / "Task501" / "dataset.json").write_text(json.dumps(content))
    found = draft(tmp_path)
    assert (found.rows[0]["image"], found.rows[0]["mask"]) == (
        "Task501/imagesTr/h_1_0000.nii.gz;Task501/imagesTr/h_1_0001.nii.gz",
        "Task501/labelsTr/h_1.nii.gz",
    )
    assert found.left_out["named in dataset.json and not there"] == ["Task501/imagesTs/h_4.nii.gz"]
    assert "Channels of each scan, for ingest.channels: [T1, T2]." in found.notes


def test_nnunet_version_2_with_files_listed(tmp_path: Path) -> None:
    make(tmp_path, "scans/a.nii.gz", "scans/b.nii.gz", "drawn/a.nii.gz", "drawn/b.nii.gz")
    cases = {n: {"images": [f"scans/{n}.nii.gz"], "label": f"drawn/{n}.nii.gz"} for n in "ab"}
    (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}, "labels": {}, "dataset": cases}))
    assert [(r["image"], r["mask"]) for r in draft(tmp_path).rows] == [
        ("scans/a.nii.gz", "drawn/a.nii.gz"),
        ("scans/b.nii.gz", "drawn/b.nii.gz"),
    ]


def test_a_dataset_json_of_something_else_is_no_description(tmp_path: Path) -> None:
    make(tmp_path, "images/a.png", "masks/a.png")
    (tmp_path / "dataset.json").write_text('{"license": "CC0"}')
    assert draft(tmp_path).rows[0]["mask"] == "masks/a.png"


def test_nothing_found_is_said(tmp_path: Path) -> None:
    make(tmp_path, "notes.txt")
    with pytest.raises(InputError, match="holds no scan"):
        draft(tmp_path)
