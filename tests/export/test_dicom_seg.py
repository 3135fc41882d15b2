"""DICOM SEG by the rules of the standard, as an independent validator reads them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from pipeline.core.labels import LabelMap
from pipeline.core.study import Organ
from pipeline.export.readers import read_seg_organs
from pipeline.formats.dicom.codes import code_of
from pipeline.formats.dicom.seg_writer import keyed_uid, write_seg
from tests.predict.studies import phantom

NAMES = {"left": "left_lung", "right": "heart"}


def written(folder: Path, flat: bool, overlapping: bool = True, empty: bool = False) -> tuple[Path, LabelMap]:
    scan, masks = phantom(3, flat)
    renamed = {NAMES[organ]: mask & (not empty) for organ, mask in masks.items()}
    labels = LabelMap.from_masks(renamed, scan.affine, list(renamed), overlapping=overlapping)
    colors = {"left_lung": "#56b4e9"}
    path = write_seg(folder, "s3", scan, labels, study="x", codes={}, colors=colors, model="unet")
    return path, labels


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("empty", [False, True])
def test_dciodvfy_finds_no_error(tmp_path: Path, flat: bool, empty: bool, tool: Callable[..., str]) -> None:
    path, _ = written(tmp_path, flat, empty=empty)
    program = tool("dciodvfy")
    for file in [path, *sorted((tmp_path / "source").glob("*.dcm"))]:
        said = subprocess.run([program, str(file)], capture_output=True, text=True, check=False)
        lines = (said.stdout + said.stderr).splitlines()
        assert [line for line in lines if line.startswith("Error")] == [], file.name


def test_coded_organs_with_sides(tmp_path: Path) -> None:
    path, _ = written(tmp_path, True)
    lung, heart = pydicom.dcmread(path).SegmentSequence
    assert lung.SegmentedPropertyTypeCodeSequence[0].CodeValue == "39607008"
    side = lung.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert (side.CodeValue, side.CodeMeaning) == ("7771000", "Left")
    assert heart.SegmentedPropertyTypeCodeSequence[0].CodeValue == "80891009"
    assert "SegmentedPropertyTypeModifierCodeSequence" not in heart.SegmentedPropertyTypeCodeSequence[0]


def test_codes_of_names() -> None:
    assert code_of("Right Kidneys").type[0] == "64033007"
    assert code_of("tumour").category[2] == "Morphologically Abnormal Structure"
    assert code_of("cat").type == ("CAT", "99ORGANSEG", "cat")
    assert code_of("left_hippocampus_head", "5366008").type == ("5366008", "SCT", "left hippocampus head")


def test_common_organs_have_codes_of_the_standard() -> None:
    from pipeline.formats.dicom.codes import ABNORMAL, ANATOMY

    for name in ANATOMY | ABNORMAL:
        value, scheme, meaning = code_of(name).type
        assert value.isdecimal(), name
        assert (scheme, meaning.lower()) == ("SCT", name.replace("_", " "))


def test_overlaps_survive(tmp_path: Path) -> None:
    scan, masks = phantom(3, True)
    both = {"a": masks["left"] | masks["right"], "b": masks["right"]}
    labels = LabelMap.from_masks(both, scan.affine, ["a", "b"], overlapping=True)
    path = write_seg(tmp_path, "s", scan, labels, study="x", codes={}, colors={}, model="m")
    found = read_seg_organs(path, labels)
    area = scan.spacing[0] * scan.spacing[1]
    assert found["a"].size == pytest.approx(both["a"].sum() * area)
    assert found["b"].size == pytest.approx(both["b"].sum() * area)


def test_our_own_reader_takes_it_back(tmp_path: Path) -> None:
    """The reader of the ingestion, written by others for foreign objects, finds the same voxels."""
    from pipeline.core.study import Ingest
    from pipeline.formats.dicom.seg_reader import read_seg
    from pipeline.formats.table import read_scan_file

    path, labels = written(tmp_path, False, overlapping=False)
    scan = read_scan_file([tmp_path / "source"], "mri", Ingest())
    original, _ = phantom(3)
    assert scan.grid.same_place(original.canonical().grid)
    organs = {name: Organ() for name in labels.organs}
    masks = read_seg(path, scan, organs, Ingest())
    for organ in labels.organs:
        np.testing.assert_array_equal(masks[organ], labels.mask(organ))


def test_keyed_uids() -> None:
    one = keyed_uid("key", "s1", "series")
    assert one == keyed_uid("key", "s1", "series")
    assert one.startswith("2.25.")
    assert len(one) <= 64
    assert len({one, keyed_uid("other", "s1", "series"), keyed_uid("key", "s2", "series")}) == 3
    assert pydicom.uid.UID(one).is_valid


@pytest.mark.parametrize(("row", "column"), [("L", "F"), ("R", "F"), ("A", "F"), ("P", "H")])
def test_a_radiograph_names_the_sides_it_runs_to(tmp_path: Path, row: str, column: str) -> None:
    """Source and object say what the original's PatientOrientation said; a mirrored one is told apart."""
    from dataclasses import replace

    from pipeline.core.errors import InputError
    from pipeline.formats.dicom.radiograph import TOWARDS

    scan, masks = phantom(3, True)
    affine = scan.affine.copy()
    affine[:3, 0], affine[:3, 1] = np.multiply(TOWARDS[row], 0.5), np.multiply(TOWARDS[column], 0.7)
    affine[:3, 2] = np.cross(affine[:3, 1], affine[:3, 0]) / 0.35
    scan = replace(scan, affine=affine, stored=None)
    labels = LabelMap.from_masks(masks, affine, list(masks), overlapping=True)
    path = write_seg(tmp_path, "s", scan, labels, study="x", codes={}, colors={}, model="m")
    for file in (path, tmp_path / "source" / "0001.dcm"):
        assert list(pydicom.dcmread(file).PatientOrientation) == [row, column]
    area = scan.spacing[0] * scan.spacing[1]
    assert read_seg_organs(path, labels)["left"].size == pytest.approx(masks["left"].sum() * area)
    seg = pydicom.dcmread(path)
    seg.PatientOrientation = [{"L": "R", "R": "L", "A": "P", "P": "A"}[row], column]
    seg.save_as(path)
    with pytest.raises(InputError, match="of the patient"):
        read_seg_organs(path, labels)
