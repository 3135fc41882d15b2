"""``organseg export SCAN MASK`` without a study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.cli.export import export_files
from pipeline.core.errors import InputError
from pipeline.core.files import read_table
from pipeline.core.labels import LabelMap
from pipeline.formats.nifti.labels import stored_grid, write_label_files, write_nifti
from tests.predict.studies import ORGANS, phantom


@pytest.fixture
def volume(tmp_path: Path) -> tuple[Path, Path]:
    scan, masks = phantom(1)
    labels = LabelMap.from_masks(masks, scan.affine, ORGANS, overlapping=False)
    write_nifti(tmp_path / "scan.nii.gz", scan.to_stored(scan.voxels[0]), stored_grid(scan).affine, "mm")
    write_label_files(tmp_path, "mask", scan, labels, {"left": 3, "right": 7})
    return tmp_path / "scan.nii.gz", tmp_path / "mask.nii.gz"


def test_a_volume_as_seg_surfaces_and_runs(volume: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    forms = ["dicom_seg", "surfaces", "rle", "coco", "overlays"]
    assert export_files(*volume, out, formats=forms, organs="3=left,7=right") == 0
    rows = read_table(out / "checks.csv")
    assert {row["format"] for row in rows} == {"dicom_seg", "surfaces", "rle", "coco", "overlays", "contact_sheets"}
    assert {row["format"] for row in rows if row["status"] != "ok"} == {"surfaces"}
    assert {row["status"] for row in rows} == {"ok", "not checked"}
    assert (out / "dicom_seg" / "scan" / "seg.dcm").is_file()


def test_pictures_with_a_file_an_organ(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40), np.uint8)).save(tmp_path / "scan.png")
    masks = tmp_path / "masks"
    masks.mkdir()
    for number, organ in enumerate(("heart", "lung")):
        picture = np.zeros((30, 40), np.uint8)
        picture[5:15, 10 * number : 10 * number + 15] = 255
        Image.fromarray(picture).save(masks / f"{organ}.png")
    out = tmp_path / "out"
    assert export_files(tmp_path / "scan.png", masks, out, formats=["nifti", "rle"], overlapping=True) == 0
    sizes = {row["organ"]: float(row["size"]) for row in read_table(out / "checks.csv")}
    assert sizes == {"heart": 150, "lung": 150}


def test_bad_calls(volume: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="which organs"):
        export_files(*volume, tmp_path / "out", formats=["nifti"])
    with pytest.raises(InputError, match="value"):
        export_files(*volume, tmp_path / "out", formats=["nifti"], organs="1=left,2=right")
