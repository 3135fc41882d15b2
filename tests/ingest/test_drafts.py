"""Drafting a manifest from the folders that people have."""

import json
from collections.abc import Sequence
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
    found = draft(tmp_path, by_folder)
    assert [(r["scan_id"], r["mask"]) for r in found.rows] == [("a", "masks/a.png"), ("b", "")]
    assert any("1 mask has no scan" in note for note in found.notes)


def test_one_folder_an_organ(tmp_path: Path) -> None:
    make(tmp_path, "images/a.png", "masks/heart/a.png", "masks/left_lung/a.png")
    (row,) = draft(tmp_path, by_folder).rows
    assert row["mask_heart"] == "masks/heart/a.png"
    assert row["mask_left_lung"] == "masks/left_lung/a.png"


def test_masks_beside_their_images(tmp_path: Path) -> None:
    make(tmp_path, "case1.nii.gz", "case1_seg.nii.gz", "case2.nii.gz")
    assert [(r["scan_id"], r["mask"]) for r in draft(tmp_path, by_folder).rows] == [
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
    found = draft(tmp_path, by_folder)
    assert [(r["scan_id"], r["mask"]) for r in found.rows] == [("l_1", "labelsTr/l_1.nii.gz"), ("l_2", "")]
    assert "1 liver" in " ".join(found.notes)


def test_nnunet_with_two_channels(tmp_path: Path) -> None:
    make(tmp_path, "imagesTr/b_001_0000.nii.gz", "imagesTr/b_001_0001.nii.gz", "labelsTr/b_001.nii.gz")
    content = {"channel_names": {"0": "T1", "1": "FLAIR"}, "labels": {"background": 0, "tumour": 1}}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    (row,) = draft(tmp_path, by_folder).rows
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
    rows = draft(tmp_path, by_folder).rows
    assert {r["patient_id"] for r in rows} == {"sub-01"}
    assert [bool(r["mask"]) for r in rows] == [True, False]


def by_folder(files: Sequence[Path]) -> dict[Path, str]:
    """Series as their files' names say: ``a-1.dcm`` and ``a-2.dcm`` are one."""
    return {path: path.name.rpartition("-")[0] or path.name for path in files}


def test_dicom_series_folders(tmp_path: Path) -> None:
    names = ["s1/a-1.dcm", "s1/a-2.dcm", "s1/a-3.dcm", "x.dcm", "rays/b.dcm", "rays/c.dcm", "rays/d", "rays/e.png"]
    names += ["two/f-1.dcm", "two/f-2.dcm", "two/g-1.dcm", "two/g-2.dcm", "two/h.dcm"]
    for name in names:
        make(tmp_path, name)
        if not name.endswith(".png"):
            (tmp_path / name).write_bytes(b"\0" * 128 + b"DICM")
    found = draft(tmp_path, by_folder)
    alone = ["rays/b.dcm", "rays/c.dcm", "rays/d", "rays/e.png", "two/h.dcm", "x.dcm"]
    assert sorted(r["image"] for r in found.rows) == sorted(["s1", *alone])
    assert "two holds several series: put each into a folder of its own." in found.notes


def test_nothing_found_is_said(tmp_path: Path) -> None:
    make(tmp_path, "notes.txt")
    with pytest.raises(InputError, match="holds no scan"):
        draft(tmp_path, by_folder)
