"""The stage ``export``: every format is written, agrees with the source, and is caught when it does not."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from PIL import Image

from pipeline import export
from pipeline.core.errors import InputError
from pipeline.core.files import read_table
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.export import forms
from pipeline.export.checks import Tolerance, compare, expected
from pipeline.formats.store import read_labels, read_scan
from tests.export.mesh_readers import read_surfaces

Make = Callable[..., tuple[Study, StudyPaths]]


def statuses(paths: StudyPaths) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in read_table(paths.exports / "checks.csv"):
        found.setdefault(row["format"], set()).add(row["status"])
    return found


def test_volumes_in_every_format(predicted: Make) -> None:
    study, paths = predicted()
    export.run(study, paths)
    checked = ("nifti", "rle", "dicom_seg", "overlays", "contact_sheets", "spotlight", "coco", "nnunet")
    assert statuses(paths) == {form: {"ok"} for form in checked} | {"surfaces": {"not checked"}}
    for name in ("s4", "s5", "s6"):
        labels = read_labels(paths.predictions("test", "champion") / f"{name}.nii.gz")
        source = expected(labels)
        for form in ("stl", "ply"):
            files = {organ: paths.exports / "surfaces" / name / f"{organ}.{form}" for organ in labels.organs}
            rows = compare(name, form, source, read_surfaces(files, labels), labels, Tolerance())
            assert {row["status"] for row in rows} == {"ok"}
    sides = {row["organ"]: row["side"] for row in read_table(paths.exports / "checks.csv") if row["organ"]}
    assert sides == {"left": "L", "right": "R"}
    for name in ("s4", "s5", "s6"):
        assert Image.open(paths.exports / "overlays" / f"{name}.png").width >= 256
        assert Image.open(paths.exports / "spotlight" / f"{name}.png").mode == "RGB"
    assert (paths.exports / "contact_sheets" / "001.png").is_file()
    dataset = json.loads(next(paths.exports.glob("nnunet/*/dataset.json")).read_text())
    assert dataset["numTraining"] == 4
    assert dataset["labels"] == {"background": 0, "left": 1, "right": 2}


def test_pictures_in_every_format(predicted: Make) -> None:
    study, paths = predicted(flat=True)
    export.run(study, paths)
    assert statuses(paths) == {
        form: {"ok"}
        for form in ("nifti", "rle", "dicom_seg", "overlays", "contact_sheets", "spotlight", "coco", "nnunet")
    }
    assert (paths.exports / "nifti" / "s4" / "left.nii.gz").is_file()


def test_nifti_lies_in_the_grid_of_the_source_file(predicted: Make) -> None:
    study, paths = predicted(formats=["nifti"])
    export.run(study, paths)
    scan = read_scan(paths.scan(0, "s4"))
    assert scan.stored is not None
    image = nib.load(paths.exports / "nifti" / "s4.nii.gz")
    assert image.shape == scan.stored.shape
    np.testing.assert_allclose(image.affine, scan.stored.affine, atol=1e-5)
    np.testing.assert_allclose(image.get_qform(), scan.stored.affine, atol=1e-4)
    other = SimpleITK.ReadImage(str(paths.exports / "nifti" / "s4.nii.gz"))
    labels = read_labels(paths.predictions("test", "champion") / "s4.nii.gz")
    for value, organ in enumerate(labels.organs, 1):
        inside = SimpleITK.GetArrayFromImage(other).transpose(2, 1, 0) == value
        lps = other.TransformContinuousIndexToPhysicalPoint(np.argwhere(inside).mean(0).tolist())
        expected = labels.affine @ [*np.argwhere(labels.mask(organ)).mean(0), 1]
        np.testing.assert_allclose(np.array(lps) * [-1, -1, 1], expected[:3], atol=1e-3)


def test_seg_lies_over_its_source(predicted: Make) -> None:
    """An independent tool reads the source series; the object's frames name its slices and cover the bright blob."""
    study, paths = predicted(formats=["dicom_seg"])
    export.run(study, paths)
    folder = paths.exports / "dicom_seg" / "s4"
    reader = SimpleITK.ImageSeriesReader()
    files = reader.GetGDCMSeriesFileNames(str(folder / "source"))
    reader.SetFileNames(files)
    image = reader.Execute()
    scan = read_scan(paths.scan(0, "s4"))
    seg = pydicom.dcmread(folder / "seg.dcm")
    sources = {pydicom.dcmread(f).SOPInstanceUID: f for f in files}
    frames = seg.pixel_array
    organs = {item.SegmentNumber: item.SegmentLabel for item in seg.SegmentSequence}
    values: dict[str, list[np.ndarray]] = {}
    for frame, own in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        derivation = own.DerivationImageSequence[0].SourceImageSequence[0]
        source = pydicom.dcmread(sources[derivation.ReferencedSOPInstanceUID])
        np.testing.assert_allclose(
            np.array(own.PlanePositionSequence[0].ImagePositionPatient, float),
            np.array(source.ImagePositionPatient, float), atol=1e-3,
        )  # fmt: skip
        organ = organs[own.SegmentIdentificationSequence[0].ReferencedSegmentNumber]
        values.setdefault(organ, []).append(source.pixel_array[frame > 0])
    middle = np.median(image[:, :, 0]) if image.GetDepth() else 0
    assert np.concatenate(values["left"]).mean() > middle > np.concatenate(values["right"]).mean()
    assert image.GetNumberOfPixels() == scan.voxels.size


def test_nothing_of_the_patient_and_equal_bytes(predicted: Make) -> None:
    study, paths = predicted(formats=["dicom_seg", "nifti", "rle", "overlays", "surfaces"])
    export.run(study, paths)
    first = {p.relative_to(paths.exports): p.read_bytes() for p in paths.exports.rglob("*") if p.is_file()}
    seg = pydicom.dcmread(paths.exports / "dicom_seg" / "s4" / "seg.dcm")
    assert str(seg.PatientName) == seg.PatientID == "s4"
    assert seg.ContentDate == "19000101"
    assert seg.PatientIdentityRemoved == "YES" if "PatientIdentityRemoved" in seg else True
    export.run(study, paths)
    second = {p.relative_to(paths.exports): p.read_bytes() for p in paths.exports.rglob("*") if p.is_file()}
    assert set(first) == set(second)
    for name, content in first.items():
        whole = [gzip.decompress(raw) if name.suffix == ".gz" else raw for raw in (content, second[name])]
        differing = [place for place, (one, other) in enumerate(zip(*whole, strict=False)) if one != other]
        assert (str(name), len(whole[0]), differing[:20]) == (str(name), len(whole[1]), [])
        assert content == second[name], f"{name}: packed otherwise, {content[:12].hex()} {second[name][:12].hex()}"


def test_a_flipped_file_is_caught(predicted: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    study, paths = predicted(formats=["nifti", "rle"])
    write = forms.write_label_files

    def flipped(folder: Path, scan_id: str, scan, labels, values):  # type: ignore[no-untyped-def]
        files = write(folder, scan_id, scan, labels, values)
        if scan_id == "s5":
            path = files["left"][0]
            image = nib.load(path)
            nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[:, ::-1], image.affine), path)
        return files

    monkeypatch.setattr(forms, "write_label_files", flipped)
    said: list[str] = []
    export.run(study, paths, say=said.append)
    assert any("2 of 12 checks differ" in line for line in said)
    aside = {path.name for path in (paths.exports / "failed" / "nifti").iterdir()}
    assert aside == {"s5.nii.gz"}
    assert {path.name for path in (paths.exports / "nifti").iterdir()} == {"s4.nii.gz", "s6.nii.gz"}
    rows = [row for row in read_table(paths.exports / "checks.csv") if row["status"] == "failed"]
    assert {(row["scan_id"], row["format"]) for row in rows} == {("s5", "nifti")}
    assert all("other side" in row["reason"] or "away" in row["reason"] for row in rows)
    assert any("s5" in line for line in said)


def test_a_wrong_nnunet_folder_is_caught(predicted: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.formats.nnunet import NnunetFolder

    study, paths = predicted(formats=["nnunet"])
    values = NnunetFolder._values
    monkeypatch.setattr(NnunetFolder, "_values", lambda folder, labels: values(folder, labels)[::-1].copy())
    with pytest.raises(InputError, match="differ"):
        export.run(study, paths)
    rows = read_table(paths.exports / "checks.csv")
    assert {(row["format"], row["status"]) for row in rows} == {("nnunet", "failed")}
    assert {row["side"] for row in rows} == {"L", "R"}


def test_sheared_scans_fail_alone(predicted: Make) -> None:
    """DICOM cannot say rows and columns that are not perpendicular: that scan's row fails, the others are written."""
    from dataclasses import replace

    from pipeline.core.labels import LabelMap
    from pipeline.core.scan import Grid
    from pipeline.formats.store import write_labels, write_scan

    study, paths = predicted(formats=["dicom_seg", "nifti"])
    scan = read_scan(paths.scan(0, "s4"))
    affine = scan.affine.copy()
    affine[:3, 1] += 0.2 * affine[:3, 0]
    assert scan.stored is not None
    stored = Grid(scan.shape, affine)
    write_scan(paths.scan(0, "s4"), replace(scan, affine=affine, stored=stored))
    path = paths.predictions("test", "champion") / "s4.nii.gz"
    labels = read_labels(path)
    write_labels(path, LabelMap(labels.data, affine, labels.organs, labels.overlapping, labels.annotated))
    export.run(study, paths)
    failed = {(r["scan_id"], r["format"]) for r in read_table(paths.exports / "checks.csv") if r["status"] == "failed"}
    assert failed == {("s4", "dicom_seg")}
    assert (paths.exports / "dicom_seg" / "s5" / "seg.dcm").is_file()


def test_an_unreadable_scan_leaves_shared_files_alone(predicted: Make) -> None:
    study, paths = predicted(formats=["nifti", "rle"])
    (paths.predictions("test", "champion") / "s5.nii.gz").write_bytes(b"damaged")
    said: list[str] = []
    export.run(study, paths, say=said.append)
    rows = read_table(paths.exports / "checks.csv")
    assert {(r["scan_id"], r["format"]) for r in rows if r["status"] == "failed"} == {("s5", "nifti"), ("s5", "rle")}
    assert (paths.exports / "rle" / "masks.csv").is_file()
    assert not (paths.exports / "failed").exists()
