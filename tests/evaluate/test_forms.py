"""Every exported form that holds masks, measured against itself and against the NIfTI files: the same organs, all 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap
from pipeline.core.scan import FRONTAL_AFFINE, Scan
from pipeline.core.study import parse_study
from pipeline.evaluate import compare
from pipeline.export.bids import write_bids
from pipeline.formats.dicom.seg_writer import write_seg
from pipeline.formats.nifti.labels import write_label_files
from pipeline.formats.nnunet import NnunetFolder
from pipeline.formats.rle.volume import on_stored_grid
from pipeline.formats.rle.writing import write_masks

ORGANS = ("liver", "left_kidney", "tumour")
COLORS = dict.fromkeys(ORGANS, "#ff0000")
#: Index → place of a file whose axes are neither in order nor in our direction.
STORED = np.array([[0, 0, 2.5, -20], [-1.0, 0, 0, 30], [0, -1.5, 0, 40], [0, 0, 0, 1.0]])


def scan_of(number: int, flat: bool) -> tuple[Scan, LabelMap]:
    shape = (30, 26, 1) if flat else (14, 12 + number, 11)
    voxels = np.random.default_rng(number).integers(0, 999, (1, *shape)).astype(np.int16)
    scan = Scan(voxels, FRONTAL_AFFINE if flat else STORED, "xray" if flat else "mri").canonical()
    masks = {organ: np.zeros(scan.shape, bool) for organ in ORGANS}
    last = slice(0, 1) if flat else slice(1, 6)
    masks["liver"][1:7, 2:9, last] = True
    masks["left_kidney"][8:10, 3:7, last] = True
    if number != 1:
        masks["tumour"][3:5, 4:6, last if flat else slice(2, 4)] = True
    if not flat:
        masks["liver"] &= ~masks["tumour"]
    return scan, LabelMap.from_masks(masks, scan.affine, ORGANS, overlapping=flat)


@pytest.fixture(scope="module", params=[False, True], ids=["volumes", "pictures"])
def forms(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scans in every form."""
    out, flat = tmp_path_factory.mktemp("exports"), request.param
    scans = {f"s{number}": scan_of(number, flat) for number in range(3)}
    raw = NnunetFolder(out / "nnunet" / "Dataset001_x", ORGANS, overlapping=flat)
    for name, (scan, labels) in scans.items():
        write_label_files(out / "nifti", name, scan, labels, {organ: i for i, organ in enumerate(ORGANS, 1)})
        write_seg(out / "dicom_seg" / name, name, scan, labels, study="x", codes={}, colors=COLORS, model="m")
        raw.add(name, scan, labels, training=name != "s2")
        study = parse_study({"modality": scan.modality, "organs": list(ORGANS), "overlapping": flat}, "x")
        write_bids(study, "m", out, name, f"sub-000{name[1]}_acq-{name}", scan, labels)
    raw.close()
    stored = [(name, on_stored_grid(scan, labels), scan.unit) for name, (scan, labels) in scans.items()]
    write_masks(out / "rle" / "masks.csv", stored, "organseg", organs=ORGANS)
    write_masks(out / "coco" / "annotations.json", stored, "coco", organs=ORGANS)
    return out


@pytest.mark.parametrize("form", ["nifti", "rle", "dicom_seg", "coco", "nnunet", "bids"])
@pytest.mark.parametrize("other", ["itself", "nifti"])
def test_every_form_is_its_own_equal(forms: Path, form: str, other: str) -> None:
    named = dict(enumerate(ORGANS, 1))
    compared = compare(forms / form, forms / (form if other == "itself" else other), named)
    figures = {
        (row["scan_id"][-2:] if "acq" not in row["scan_id"] else row["scan_id"].split("acq")[1][1:3], row["organ"]): (
            row["dice"],
            row["case"],
        )
        for row in compared.rows
    }
    assert figures == {
        (f"s{number}", organ): ("", "both_empty") if (number, organ) == (1, "tumour") else ("1", "both")
        for number in range(3)
        for organ in ORGANS
    }
    assert not compared.failed
    assert not compared.unmatched
    assert len(compared.told) >= 2


@pytest.mark.parametrize("form", ["rle", "dicom_seg", "coco", "nnunet", "bids"])
def test_forms_that_name_organs_need_no_names(forms: Path, form: str) -> None:
    compared = compare(forms / form, forms / form)
    assert {row["organ"].replace("leftkidney", "left_kidney") for row in compared.rows} == set(ORGANS)
    assert {row["dice"] for row in compared.rows} <= {"1", ""}


def test_a_part_of_a_scan_has_no_share_of_all_voxels(forms: Path) -> None:
    compared = compare(forms / "dicom_seg", forms / "dicom_seg")
    assert {row["accuracy"] for row in compared.rows} == {row["pixel_accuracy"] for row in compared.rows} == {""}


def test_all_forms_at_once_are_refused(forms: Path) -> None:
    with pytest.raises(InputError, match="in several forms: bids, dicom_seg, nifti, nnunet"):
        compare(forms, forms / "nifti")
