"""Pictures whose borders were cut off: every export has the size and place of the file that they came in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image

from pipeline import export, rle
from pipeline.core.files import read_table
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.scan import Scan
from pipeline.core.study import Study
from pipeline.formats.correction import put_aside
from pipeline.formats.pictures.borders import crop_borders, uncropped
from pipeline.formats.rle import RleTable
from pipeline.formats.store import read_labels, read_scan, write_labels, write_scan
from tests.predict.studies import ORGANS, phantom

Make = Callable[..., tuple[Study, StudyPaths]]
EDGES = (3, 5, 2, 7)  # left, top, right, bottom
SIZE = (40 + 3 + 2, 36 + 5 + 7)


def framed(array: np.ndarray, fill: float = 0) -> np.ndarray:
    """``(…, X, Y, 1)`` with a border around it."""
    left, top, right, bottom = EDGES
    pad = [(0, 0)] * (array.ndim - 3) + [(left, right), (top, bottom), (0, 0)]
    return np.pad(array, pad, constant_values=fill)


def bordered(scan: Scan, fill: float = -200) -> Scan:
    """A picture in a border, as its file shows it."""
    left, top, *_ = EDGES
    affine = scan.affine.copy()
    affine[:3, 3] -= affine[:3, 0] * left + affine[:3, 1] * top
    return replace(scan, voxels=framed(scan.voxels, fill), affine=affine, stored=None).canonical()


@pytest.fixture
def cut(predicted: Make) -> tuple[Study, StudyPaths]:
    """A study whose pictures came with borders, ingested without them."""
    forms = ["nifti", "rle", "dicom_seg", "overlays", "spotlight", "coco", "nnunet"]
    study, paths = predicted(flat=True, formats=forms, ingest={"crop_borders": True})
    for row in read_table(paths.scans_csv):
        name = row["scan_id"]
        whole = bordered(phantom(int(name[1:]), flat=True)[0])
        scan = crop_borders(whole)
        assert scan.notes["cropped"] == list(EDGES)
        write_scan(paths.scan(row["shard"], name), scan)
        for path in (paths.mask(row["shard"], name), paths.predictions("test", "champion") / f"{name}.nii.gz"):
            if path.is_file():
                write_labels(path, replace(read_labels(path), affine=scan.affine))
    return study, paths


def test_what_was_cut_off_comes_back() -> None:
    scan, masks = phantom(3, flat=True)
    whole = bordered(scan)
    cut = crop_borders(whole)
    np.testing.assert_array_equal(cut.voxels, scan.voxels)
    np.testing.assert_allclose(cut.affine, scan.affine)
    back = uncropped(cut)
    np.testing.assert_array_equal(back.voxels, whole.voxels)
    np.testing.assert_allclose(back.affine, whole.affine)
    np.testing.assert_array_equal(cut.to_stored(masks["left"]), framed(masks["left"]))
    assert uncropped(scan) is scan


def test_each_border_keeps_its_grey() -> None:
    scan, _ = phantom(3, flat=True)
    whole = bordered(scan)
    whole.voxels[:, -EDGES[2] :] = 200
    np.testing.assert_array_equal(uncropped(crop_borders(whole)).voxels, whole.voxels)


def test_every_form_has_the_size_of_the_file(cut: tuple[Study, StudyPaths]) -> None:
    study, paths = cut
    export.run(study, paths)
    rows = read_table(paths.exports / "checks.csv")
    assert {row["status"] for row in rows} == {"ok"}, [row for row in rows if row["status"] != "ok"]
    masks = phantom(4, flat=True)[1]
    whole = bordered(phantom(4, flat=True)[0])
    for organ in ORGANS:
        image = nib.load(paths.exports / "nifti" / "s4" / f"{organ}.nii.gz")
        np.testing.assert_array_equal(np.asarray(image.dataobj) > 0, framed(masks[organ]))
        np.testing.assert_allclose(image.affine, whole.affine, atol=1e-5)
    decoded = RleTable(paths.exports / "rle" / "masks.csv").masks("s4", ORGANS, (*SIZE, 1))
    np.testing.assert_array_equal(decoded["left"], framed(masks["left"]))
    coco = json.loads((paths.exports / "coco" / "annotations.json").read_text())
    assert {(image["width"], image["height"]) for image in coco["images"]} == {SIZE}
    folder = paths.exports / "dicom_seg" / "s4"
    source, seg = pydicom.dcmread(folder / "source" / "0001.dcm"), pydicom.dcmread(folder / "seg.dcm")
    assert (source.Columns, source.Rows) == (seg.Columns, seg.Rows) == SIZE
    frames = dict(zip([item.SegmentLabel for item in seg.SegmentSequence], np.atleast_3d(seg.pixel_array), strict=True))
    np.testing.assert_array_equal(frames["left"] > 0, framed(masks["left"])[..., 0].T)
    for form in ("overlays", "spotlight"):
        picture = Image.open(paths.exports / form / "s4.png")
        height = picture.height - (22 + 24 if form == "overlays" else 0)
        assert picture.width / height == pytest.approx(SIZE[0] * 0.5 / (SIZE[1] * 0.7), abs=0.01)
    raw = next(paths.exports.glob("nnunet/*/imagesTs/s4_0000.nii.gz"))
    np.testing.assert_array_equal(np.asarray(nib.load(raw).dataobj), whole.voxels[0])


def test_the_table_of_masks_has_the_size_of_the_files(cut: tuple[Study, StudyPaths]) -> None:
    study, paths = cut
    table = rle.run(study, paths)
    masks = RleTable(table).masks("s1", ORGANS, (*SIZE, 1))
    np.testing.assert_array_equal(masks["right"], framed(phantom(1, flat=True)[1]["right"]))


def test_a_picture_put_aside_is_whole(tmp_path, cut: tuple[Study, StudyPaths]) -> None:
    """Image and mask of a correction folder go through ingestion again, which cuts both."""
    study, paths = cut
    scan = read_scan(paths.scan(0, "s4"))
    labels = read_labels(paths.predictions("test", "champion") / "s4.nii.gz")
    put_aside(tmp_path, "s4", scan, labels, study.values())
    image = nib.load(tmp_path / "images" / "s4.nii.gz")
    assert image.shape == nib.load(tmp_path / "masks" / "s4" / "left.nii.gz").shape == (*SIZE, 1)
    np.testing.assert_array_equal(np.asarray(image.dataobj), bordered(phantom(4, flat=True)[0]).voxels[0])


def test_a_border_put_back_wrongly_fails_the_scan(
    cut: tuple[Study, StudyPaths], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.export import forms

    def moved(scan: Scan, labels: LabelMap) -> LabelMap:
        wide = right(scan, labels)
        if scan.notes.get("cropped") and np.array_equal(labels.data, wrong.data):
            return replace(wide, data=np.roll(wide.data, 1, axis=0))
        return wide

    study, paths = cut
    right, wrong = forms.on_stored_grid, read_labels(paths.predictions("test", "champion") / "s5.nii.gz")
    monkeypatch.setattr(forms, "on_stored_grid", moved)
    export.run(study.model_copy(update={"export": study.export.model_copy(update={"formats": ["nifti"]})}), paths)
    rows = read_table(paths.exports / "checks.csv")
    assert {row["scan_id"] for row in rows if row["status"] == "failed"} == {"s5"}
    assert not (paths.exports / "nifti" / "s5").exists()
