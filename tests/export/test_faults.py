"""Faults planted in each writer: the export of that scan fails, is set aside, and all others stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import export
from pipeline.core.files import read_table
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.scan import Grid, Scan
from pipeline.core.study import Study
from pipeline.export import forms, shared
from pipeline.formats import nnunet as nnunet_raw
from pipeline.formats import rle
from pipeline.formats.dicom import seg_writer as dicom_seg_writer
from tests.predict.studies import ORGANS

Make = Callable[..., tuple[Study, StudyPaths]]
Fault = Callable[[LabelMap], LabelMap]
BAD = "s5"


def shifted(labels: LabelMap) -> LabelMap:
    return replace(labels, data=np.roll(labels.data, 1, axis=1))


def mirrored(labels: LabelMap) -> LabelMap:
    return replace(labels, data=np.ascontiguousarray(labels.data[::-1]))


def swapped(labels: LabelMap) -> LabelMap:
    masks = {"left": labels.mask("right"), "right": labels.mask("left")}
    return LabelMap.from_masks(masks, labels.affine, ORGANS, overlapping=labels.overlapping)


def lacking(labels: LabelMap) -> LabelMap:
    masks = {"left": labels.mask("left"), "right": np.zeros(labels.data.shape, bool)}
    return LabelMap.from_masks(masks, labels.affine, ORGANS, overlapping=labels.overlapping)


def wrong_spacing(scan: Scan) -> Scan:
    """The same scan with voxels a tenth too long along its first axis."""
    affine = scan.affine @ np.diag([1.1, 1, 1, 1])
    stored = scan.stored and Grid(scan.stored.shape, np.asarray(scan.stored.affine) @ np.diag([1.1, 1, 1, 1]))
    return replace(scan, affine=affine, stored=stored)


FAULTS = {"shifted": shifted, "mirrored": mirrored, "swapped": swapped, "lacking": lacking}


class Plant:
    """Puts a fault into what a writer is given of one scan; other scans are left alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
        self.patch = monkeypatch
        self.fault = fault

    def labels(self, labels: LabelMap) -> LabelMap:
        return FAULTS[self.fault](labels) if self.fault in FAULTS else labels

    def scan(self, scan: Scan) -> Scan:
        return wrong_spacing(scan) if self.fault == "spacing" else scan

    def into(self, form: str) -> None:
        getattr(self, f"_{form}")()

    def _replaced(self, module: Any, name: str, wrap: Callable[..., Any]) -> None:
        right = getattr(module, name)
        self.patch.setattr(module, name, lambda *given, **named: wrap(right, *given, **named))

    def _nifti(self) -> None:
        def write(right: Any, folder: Path, name: str, scan: Scan, labels: LabelMap, values: Any) -> Any:
            if name == BAD:
                scan, labels = self.scan(scan), self.labels(labels)
            return right(folder, name, scan, labels, values)

        self._replaced(forms, "write_label_files", write)

    def _dicom_seg(self) -> None:
        def write(right: Any, folder: Path, name: str, scan: Scan, labels: LabelMap, **named: Any) -> Any:
            if name == BAD:
                scan, labels = self.scan(scan), self.labels(labels)
            return right(folder, name, scan, labels, **named)

        self._replaced(dicom_seg_writer, "write_seg", write)

    def _overlays(self) -> None:
        def draw(right: Any, scan: Scan, labels: LabelMap, *given: Any, **named: Any) -> Any:
            if named["title"] == BAD:
                scan, labels = self.scan(scan), self.labels(labels)
            return right(scan, labels, *given, **named)

        self._replaced(forms, "overlay", draw)

    def _spotlight(self) -> None:
        drawn: list[Scan] = []

        def draw(right: Any, scan: Scan, labels: LabelMap, *given: Any, **named: Any) -> Any:
            drawn.append(scan)
            if len(drawn) == 2:  # the scans come in their order
                scan, labels = self.scan(scan), self.labels(labels)
            return right(scan, labels, *given, **named)

        self._replaced(forms, "spotlight", draw)

    def _rle(self) -> None:
        def write(right: Any, path: Path, items: Any, dialect: str, **named: Any) -> Any:
            def given() -> Any:
                for name, labels, unit in items:
                    if name == BAD:
                        affine = labels.affine @ np.diag([1.1 if self.fault == "spacing" else 1, 1, 1, 1])
                        labels = replace(self.labels(labels), affine=affine)
                    yield name, labels, unit

            return right(path, given(), dialect, **named)

        self._replaced(shared, "write_masks", write)

    _coco = _rle

    def _nnunet(self) -> None:
        def add(right: Any, folder: Any, name: str, scan: Scan, labels: LabelMap | None, **named: Any) -> Any:
            if name == BAD and labels is not None:
                scan, labels = self.scan(scan), self.labels(labels)
            return right(folder, name, scan, labels, **named)

        self._replaced(nnunet_raw.NnunetFolder, "add", lambda *given, **named: add(*given, **named))

    source: LabelMap


def run(study: Study, paths: StudyPaths) -> tuple[set[tuple[str, str]], list[str]]:
    """Export; gives scans and forms that failed, and what was said."""
    said: list[str] = []
    export.run(study, paths, say=said.append)
    rows = read_table(paths.exports / "checks.csv")
    assert {row["scan_id"] for row in rows if row["status"] == "ok"} >= {"s4", "s6"}
    return {(row["scan_id"], row["format"]) for row in rows if row["status"] == "failed"}, said


def names(folder: Path) -> set[str]:
    return {path.name.split(".")[0] for path in folder.iterdir()} if folder.is_dir() else set()


OWN = {"nifti": "nifti", "dicom_seg": "dicom_seg", "overlays": "overlays", "spotlight": "spotlight"}


@pytest.mark.parametrize("flat", [False, True], ids=["volume", "picture"])
@pytest.mark.parametrize("fault", [*FAULTS, "spacing"])
@pytest.mark.parametrize("form", OWN)
def test_a_fault_in_a_file_of_one_scan(
    predicted: Make, monkeypatch: pytest.MonkeyPatch, form: str, fault: str, flat: bool
) -> None:
    study, paths = predicted(flat=flat, formats=[form])
    Plant(monkeypatch, fault).into(form)
    failed, said = run(study, paths)
    assert failed == {(BAD, form)}
    assert any(line.startswith(f"{BAD}, {form}:") for line in said)
    assert names(paths.exports / "failed" / form) == {BAD}
    assert names(paths.exports / form) == {"s4", "s6"}


def organ_study(predicted: Make, dialect: str, flat: bool) -> tuple[Study, StudyPaths]:
    return predicted(flat=flat, export={"formats": ["rle", "nifti"], "rle_dialect": dialect})


#: Only our own dialect says where its voxels lie.
IN_RUNS = [
    *(("organseg", fault, flat) for fault in (*FAULTS, "spacing") for flat in (False, True)),
    *((dialect, fault, False) for dialect in ("severstal", "uw-madison") for fault in FAULTS),
    *((dialect, fault, True) for dialect in ("chexmask", "coco", "coco-list") for fault in FAULTS),
]


@pytest.mark.parametrize(("dialect", "fault", "flat"), IN_RUNS)
def test_a_fault_in_run_lengths(
    predicted: Make, monkeypatch: pytest.MonkeyPatch, dialect: str, fault: str, flat: bool
) -> None:
    study, paths = organ_study(predicted, dialect, flat)
    Plant(monkeypatch, fault).into("rle")
    failed, said = run(study, paths)
    assert failed == {(BAD, "rle")}
    assert any(line.startswith(f"{BAD}, rle:") for line in said)
    assert BAD in (paths.exports / "failed" / "rle" / "masks.csv").read_text()
    table = (paths.exports / "rle" / "masks.csv").read_text()
    assert "s4" in table
    assert "s6" in table
    assert BAD not in table


@pytest.mark.parametrize("flat", [False, True], ids=["volume", "picture"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_coco(predicted: Make, monkeypatch: pytest.MonkeyPatch, fault: str, flat: bool) -> None:
    study, paths = predicted(flat=flat, formats=["coco"])
    Plant(monkeypatch, fault).into("coco")
    assert run(study, paths)[0] == {(BAD, "coco")}
    assert (paths.exports / "failed" / "coco" / "annotations.json").is_file()
    text = (paths.exports / "coco" / "annotations.json").read_text()
    assert BAD not in text
    assert "s4" in text


@pytest.mark.parametrize("flat", [False, True], ids=["volume", "picture"])
@pytest.mark.parametrize("fault", [*FAULTS, "spacing"])
def test_a_fault_in_the_nnunet_folder(predicted: Make, monkeypatch: pytest.MonkeyPatch, fault: str, flat: bool) -> None:
    import json

    study, paths = predicted(flat=flat, formats=["nnunet"])
    Plant(monkeypatch, fault).into("nnunet")
    said: list[str] = []
    export.run(study, paths, say=said.append)
    rows = read_table(paths.exports / "checks.csv")
    assert {(r["scan_id"], r["format"]) for r in rows if r["status"] == "failed"} == {(BAD, "nnunet")}
    folder = next((paths.exports / "nnunet").iterdir())
    assert not list(folder.rglob(f"{BAD}*"))
    aside = next((paths.exports / "failed" / "nnunet").iterdir())
    assert {path.relative_to(aside).as_posix() for path in aside.rglob("*.gz")} >= {f"imagesTs/{BAD}_0000.nii.gz"}
    assert (folder / "labelsTs" / "s4.nii.gz").is_file()
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 4


@pytest.mark.parametrize("flat", [False, True], ids=["volume", "picture"])
@pytest.mark.parametrize("fault", ["mirrored", "moved"])
def test_a_segmentation_beside_another_source(
    predicted: Make, monkeypatch: pytest.MonkeyPatch, fault: str, flat: bool
) -> None:
    """The object is right, and the instances that it refers to are not."""
    study, paths = predicted(flat=flat, formats=["dicom_seg"])
    right = dicom_seg_writer.source_instances

    def wrong(name: str, scan: Scan, key: str) -> Any:
        made = right(name, scan, key)
        for one in made if name == BAD else []:
            pixels = one.pixel_array
            pixels = pixels[:, ::-1] if fault == "mirrored" else np.roll(pixels, 1, axis=0)
            one.PixelData = np.ascontiguousarray(pixels).tobytes()
        return made

    monkeypatch.setattr(dicom_seg_writer, "source_instances", wrong)
    failed, said = run(study, paths)
    assert failed == {(BAD, "dicom_seg")}
    assert any("something else than the scan" in line for line in said)


def test_a_wrong_image_in_the_nnunet_folder(predicted: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    write = nnunet_raw.write_nifti

    def moved(path: Path, data: np.ndarray, affine: np.ndarray, unit: Any) -> None:
        write(path, np.roll(data, 1, axis=0) if path.name == "s1_0000.nii.gz" else data, affine, unit)

    study, paths = predicted(formats=["nnunet"])
    monkeypatch.setattr(nnunet_raw, "write_nifti", moved)
    said: list[str] = []
    export.run(study, paths, say=said.append)
    assert any("s1, nnunet: read back, image 0 holds other values" in line for line in said)
    folder = next((paths.exports / "nnunet").iterdir())
    assert not list(folder.rglob("s1*"))
    assert '"numTraining": 3' in (folder / "dataset.json").read_text()


def test_an_unreadable_scan_in_the_nnunet_folder_is_a_row(predicted: Make) -> None:
    study, paths = predicted(formats=["nnunet", "nifti"])
    paths.scan(1, "s1").write_bytes(b"damaged")
    paths.mask(0, "s2").write_bytes(b"damaged")
    export.run(study, paths)
    rows = read_table(paths.exports / "checks.csv")
    assert {(r["scan_id"], r["format"]) for r in rows if r["status"] == "failed"} == {
        ("s1", "nnunet"),
        ("s2", "nnunet"),
    }
    folder = next((paths.exports / "nnunet").iterdir())
    assert {path.name for path in (folder / "imagesTr").iterdir()} == {"s0_0000.nii.gz", "s3_0000.nii.gz"}
    assert '"numTraining": 2' in (folder / "dataset.json").read_text()


def test_a_file_that_cannot_be_written_fails_its_form_alone(predicted: Make) -> None:
    """A dialect without a place for several organs: said of each scan, and the other forms stand."""
    study, paths = organ_study(predicted, "kaggle", False)
    failed, said = run(study, paths)
    assert failed == {(name, "rle") for name in ("s4", "s5", "s6")}
    assert any("no column for organs" in line for line in said)
    assert names(paths.exports / "nifti") == {"s4", "s5", "s6"}


def test_only_the_scan_itself_is_set_aside(predicted: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan whose id another scan's id begins with."""
    from pipeline.export import _set_aside

    _, paths = predicted(formats=["nifti"])
    folder = paths.exports / "nifti"
    folder.mkdir(parents=True)
    for name in ("a.nii.gz", "a.b.nii.gz"):
        (folder / name).write_bytes(b"")
    _set_aside(paths.exports, [{"scan_id": "a", "format": "nifti", "status": "failed"}])
    assert {path.name for path in folder.iterdir()} == {"a.b.nii.gz"}


def test_the_codec_is_not_what_reads_back() -> None:
    """The reader of run lengths knows nothing of the package that writes them."""
    from pipeline.export import run_readers

    own = {getattr(value, "__module__", "") for value in vars(run_readers).values()}
    assert not [name for name in own if name and name.startswith(rle.__name__)]


def test_what_could_not_be_read_back_does_not_count_as_agreeing(tmp_path: Path) -> None:
    from pipeline.export import _sum_up

    said: list[str] = []
    rows = [{"scan_id": "a", "format": "overlays", "status": status} for status in ("ok", "not checked")]
    _sum_up(tmp_path, rows, said.append)
    assert said == ["1 checks agree", "1 were not checked: checks.csv says why"]
