"""Drafts of DICOM folders as archives deliver them: series in folders of UIDs, segmentations, masks beside slices."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, SegmentationStorage, generate_uid

from pipeline.core.errors import InputError
from pipeline.ingest.drafts import draft
from tests.ingest.layouts.tree import write


def series(folder: Path, patient: str, *, count: int = 3, ending: str = ".dcm", uid: str = "") -> str:
    """Write slices of a CT; returns the series' UID."""
    uid = uid or generate_uid()
    for number in range(count):
        data = _object("CT", CTImageStorage, patient, uid)
        data.ImagePositionPatient = [0, 0, number]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.PixelSpacing = [1, 1]
        data.Rows, data.Columns, data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 16, 12, 11
        data.SamplesPerPixel, data.PixelRepresentation, data.PhotometricInterpretation = 1, 0, "MONOCHROME2"
        data.PixelData = np.random.default_rng(number).integers(0, 900, (8, 8)).astype(np.uint16).tobytes()
        _save(data, folder / f"IM{number:04d}{ending}")
    return uid


def segmentation(path: Path, patient: str, refers: str) -> None:
    """Write the header of a segmentation of a series."""
    data = _object("SEG", SegmentationStorage, patient, generate_uid())
    reference = Dataset()
    reference.SeriesInstanceUID = refers
    data.ReferencedSeriesSequence = [reference]
    _save(data, path)


def _object(modality: str, kind: str, patient: str, uid: str) -> Any:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = kind, generate_uid()
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = kind, data.SOPInstanceUID
    data.PatientID, data.Modality, data.SeriesInstanceUID = patient, modality, uid
    data.StudyInstanceUID = generate_uid()
    return data


def _save(data: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def test_segmentations_find_their_series_by_header(tmp_path: Path) -> None:
    for patient in ("LUNG1-001", "LUNG1-002"):
        place = tmp_path / patient / "09-18-2008-StudyID-69331"
        uid = series(place / "0.000000-NA-82046", patient)
        segmentation(place / "300.000000-Segmentation-5.4" / "1-1.dcm", patient, uid)
    rows = draft(tmp_path).rows
    assert [row["patient_id"] for row in rows] == ["LUNG1-001", "LUNG1-002"]
    assert all(row["image"].endswith("82046") for row in rows)
    assert all(
        row["mask"] == row["image"].replace("0.000000-NA-82046", "300.000000-Segmentation-5.4/1-1.dcm") for row in rows
    )


def test_masks_elsewhere_find_series_in_folders_of_uids(tmp_path: Path) -> None:
    for number in ("0001", "0002"):
        series(tmp_path / "Pancreas-CT" / f"PANCREAS_{number}" / generate_uid() / generate_uid(), f"PANCREAS_{number}")
        write(tmp_path / "TCIA_pancreas_labels-02-05-2017" / f"label{number}.nii.gz", recorded=False)
    rows = draft(tmp_path).rows
    assert [row["scan_id"] for row in rows] == ["PANCREAS_0001", "PANCREAS_0002"]
    assert [row["patient_id"] for row in rows] == ["PANCREAS_0001", "PANCREAS_0002"]
    assert [Path(row["mask"]).name for row in rows] == ["label0001.nii.gz", "label0002.nii.gz"]


def test_a_mask_among_the_slices(tmp_path: Path) -> None:
    for number in "12":
        series(tmp_path / f"patient{number}", f"id{number}", ending=".IMA")
        write(tmp_path / f"patient{number}" / "mask.nii.gz", recorded=False)
    found = draft(tmp_path)
    assert [(r["image"], r["mask"], r["patient_id"]) for r in found.rows] == [
        ("patient1", "patient1/mask.nii.gz", "id1"),
        ("patient2", "patient2/mask.nii.gz", "id2"),
    ]
    assert any("pseudonymise" in note for note in found.notes)


def test_one_patient_id_for_all_is_passed_over(tmp_path: Path) -> None:
    for number in "12":
        series(tmp_path / f"patient{number}", "ANONYMOUS")
    found = draft(tmp_path)
    assert [row["patient_id"] for row in found.rows] == ["patient1", "patient2"]
    assert any("the same in every DICOM header" in note for note in found.notes)


def test_two_series_of_a_person_are_one_patient(tmp_path: Path) -> None:
    for name, patient in (("a", "P1"), ("b", "P1"), ("c", "P2")):
        series(tmp_path / name, patient)
    assert [row["patient_id"] for row in draft(tmp_path).rows] == ["P1", "P1", "P2"]


def test_pictures_of_slices_are_no_masks_of_a_series(tmp_path: Path) -> None:
    for number in ("1", "2"):
        series(tmp_path / "MR" / number / "T2SPIR" / "DICOM_anon", number)
        for slice_number in range(3):
            write(tmp_path / "MR" / number / "T2SPIR" / "Ground" / f"IMG-000{slice_number}.png", recorded=False)
    with pytest.raises(InputError, match="pictures of single slices"):
        draft(tmp_path)


def test_a_segmentation_of_another_series_is_left_out(tmp_path: Path) -> None:
    series(tmp_path / "p1" / "ct", "p1")
    segmentation(tmp_path / "p1" / "seg.dcm", "p1", generate_uid())
    with pytest.raises(InputError, match="none of 1 masks has a scan"):
        draft(tmp_path)


def test_linked_folders_and_hidden_files(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    series(outside / "p1", "p1")
    place = tmp_path / "data"
    place.mkdir()
    (place / "linked").symlink_to(outside)
    (place / "linked" / "loop").symlink_to(place)
    series(place / "p2", "p2")
    for name in ("._a.nii.gz", ".DS_Store", "p2/._IM0000.dcm"):
        (place / name).write_bytes(b"x")
    assert [row["image"] for row in draft(place).rows] == ["linked/p1", "p2"]
