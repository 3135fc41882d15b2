"""Doubtful scans go to a person and come back: one command, whatever the organs, and the next ingestion has them."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipeline import ingest
from pipeline.core.errors import InputError
from pipeline.core.files import read_table, read_yaml, write_table, write_yaml
from pipeline.core.labels import LabelMap
from pipeline.core.manifest import load_manifest, manifest_path
from pipeline.core.paths import StudyPaths
from pipeline.core.scan import FRONTAL_AFFINE, Scan
from pipeline.core.shards import write_shards
from pipeline.core.study import data_root, load_study
from pipeline.formats.correction import clear, finish, put_aside
from pipeline.formats.nifti.labels import stored_grid, write_nifti
from pipeline.formats.store import read_labels
from pipeline.ingest.corrections import add_masks, find_corrected
from tests.predict.studies import ORGANS, phantom

VALUES = {"left": 3, "right": 7}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the studies ``knee`` (exclusive organs) and ``chest`` (overlapping), a scan each."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ORGANSEG_DATA", raising=False)
    organs = {organ: {"value": value} for organ, value in VALUES.items()}
    write_yaml(Path("configs/knee.yaml"), {"modality": "mri", "organs": organs})
    write_yaml(Path("configs/chest.yaml"), {"modality": "xray", "organs": organs, "overlapping": True})
    scan, _ = phantom(1)
    write_nifti(Path("data/a.nii.gz"), scan.to_stored(scan.voxels[0]), stored_grid(scan).affine, "mm")
    Path("data").mkdir(exist_ok=True)
    Image.fromarray(radiograph(1)[0].voxels[0, :, :, 0].T.astype(np.uint8)).save("data/a.png")
    for name, file in (("knee", "a.nii.gz"), ("chest", "a.png")):
        rows = [{"scan_id": "a", "patient_id": "p", "image": file, "mask": "", "site": "north"}]
        write_table(manifest_path(name), rows, list(rows[0]))
    return tmp_path


def radiograph(seed: int) -> tuple[Scan, dict[str, np.ndarray]]:
    scan, masks = phantom(seed, flat=True)
    values = np.clip(scan.voxels + 120, 0, 255).astype(np.uint8)
    masks["left"] |= np.roll(masks["right"], -3, axis=0)
    return Scan(values, FRONTAL_AFFINE, "xray", "unknown"), masks


def aside(folder: Path, name: str, scan: Scan, masks: dict[str, np.ndarray]) -> LabelMap:
    labels = LabelMap.from_masks(masks, scan.affine, ORGANS, overlapping=scan.is_flat)
    put_aside(folder, name, scan, labels, VALUES)
    return labels


def ingested(name: str, scan: str) -> LabelMap:
    """A scan's organs after ingestion."""
    paths, study = StudyPaths(name, Path()), load_study(name)
    write_shards(paths, study, load_manifest(manifest_path(name), study), data_root(study))
    for shard in range(study.ingest.shards):
        ingest.run_shard(study, paths, shard)
    ingest.gather(study, paths)
    row = next(row for row in read_table(paths.scans_csv) if row["scan_id"] == scan)
    return read_labels(paths.mask(row["shard"], scan))


@pytest.mark.parametrize("study", ["knee", "chest"])
def test_masks_come_back(place: Path, study: str) -> None:
    """A scan of the study and a new one; the corrected organs are those that the next ingestion finds."""
    make = radiograph if study == "chest" else phantom
    old = aside(place / "correction", "a", *make(1))
    new = aside(place / "correction", "b", *make(2))
    said = add_masks(study, place / "correction", None)
    assert "1 scans replaced" in said[0]
    assert "1 new scans" in said[1]
    manifest = load_manifest(manifest_path(study), load_study(study))
    assert manifest.bad == ()
    rows = {row.scan_id: row for row in manifest.rows}
    assert rows["a"].images[0] in {"a.png", "a.nii.gz"}
    assert rows["a"].extra == {"site": "north"}
    assert rows["b"].images[0].startswith(f"corrected/{study}/images/b.")
    assert all(row.labelled for row in manifest.rows)
    for scan, labels in (("a", old), ("b", new)):
        found = ingested(study, scan)
        for organ in ORGANS:
            np.testing.assert_array_equal(found.mask(organ), labels.mask(organ))
    again = add_masks(study, place / "correction", None)
    assert again == [f"{2 if study == 'knee' else 4} masks are in the study already"]


def test_some_organs_stay_as_they_were(place: Path) -> None:
    aside(place / "correction", "a", *radiograph(1))
    add_masks("chest", place / "correction", "first")
    (place / "more" / "a").mkdir(parents=True)
    Image.fromarray(np.zeros((36, 40), np.uint8)).save(place / "more" / "a" / "left.png")
    add_masks("chest", place / "more", "second")
    row = read_table(manifest_path("chest"))[0]
    assert row["mask_left"] == "corrected/second/a/left.png"
    assert row["mask_right"] == "corrected/first/a/right.nii.gz"
    assert not ingested("chest", "a").mask("left").any()


def test_who_drew_an_organ_looked_for_it(place: Path) -> None:
    rows = [{**row, "not_annotated": "left; right"} for row in read_table(manifest_path("chest"))]
    write_table(manifest_path("chest"), rows, list(rows[0]))
    aside(place / "correction", "a", *radiograph(1))
    add_masks("chest", place / "correction", None)
    assert read_table(manifest_path("chest"))[0]["not_annotated"] == ""


def test_nothing_changes_where_something_is_wrong(place: Path) -> None:
    before = manifest_path("chest").read_bytes()
    aside(place / "new", "b", *radiograph(2))
    for file in (place / "new" / "images").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="no scan of the study is named like b"):
        add_masks("chest", place / "new", None)
    aside(place / "strange", "a", *radiograph(1))
    (place / "strange" / "masks" / "a" / "left.nii.gz").rename(place / "strange" / "masks" / "a" / "spleen.nii.gz")
    with pytest.raises(InputError, match="masks of spleen"):
        add_masks("chest", place / "strange", None)
    with pytest.raises(InputError, match="holds no masks"):
        add_masks("chest", place / "absent", None)
    assert manifest_path("chest").read_bytes() == before
    assert not (place / "data" / "corrected").exists()


def test_one_name_for_two_scans_is_refused(place: Path) -> None:
    aside(place / "first", "scan", *radiograph(1))
    add_masks("chest", place / "first", None)
    aside(place / "second", "scan", *radiograph(2))
    with pytest.raises(InputError, match="another scan of the name scan"):
        add_masks("chest", place / "second", None)


def test_a_part_of_the_organs_cannot_replace_one_mask_of_all(place: Path) -> None:
    aside(place / "correction", "a", *phantom(1))
    add_masks("knee", place / "correction", None)
    (place / "more" / "a").mkdir(parents=True)
    (place / "more" / "a" / "left.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match="lacks right"):
        add_masks("knee", place / "more", None)
    (place / "more" / "a.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match="single ones"):
        add_masks("knee", place / "more", None)


def test_images_keep_what_they_hold(tmp_path: Path) -> None:
    """Colours and depth in a PNG; several channels, true millimetres and broken numbers in NIfTI."""
    flat, masks = radiograph(1)
    colour = replace(flat, voxels=np.concatenate([flat.voxels] * 3), modality="photo")
    deep = replace(flat, voxels=flat.voxels.astype(np.uint16) * 200)
    aside(tmp_path, "colour", colour, masks)
    aside(tmp_path, "deep", deep, masks)
    aside(tmp_path, "placed", replace(flat, spacing_source="patient"), masks)
    aside(tmp_path, "broken", replace(flat, voxels=flat.voxels / np.float32(3)), masks)
    scan, masks = phantom(1)
    aside(tmp_path, "two", replace(scan, voxels=np.concatenate([scan.voxels, -scan.voxels])), masks)
    names = {path.name for path in (tmp_path / "images").iterdir()}
    assert names == {
        "colour.png", "deep.png", "placed.nii.gz", "broken.nii.gz", "two_0000.nii.gz", "two_0001.nii.gz",
    }  # fmt: skip
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "images" / "deep.png")), deep.voxels[0, :, :, 0].T)
    assert [path.name for path in find_corrected(tmp_path)["two"].images] == ["two_0000.nii.gz", "two_0001.nii.gz"]


def test_a_mask_beside_the_one_it_was_made_from_is_not_guessed(place: Path) -> None:
    aside(place / "new", "a", *radiograph(1))
    (folder,) = (path for path in (place / "new" / "masks").iterdir() if path.is_dir())
    packed = next(folder.glob("*.nii.gz"))
    packed.with_suffix("").write_bytes(b"corrected")
    with pytest.raises(InputError, match="masks of the same name"):
        find_corrected(place / "new")


def test_another_scan_is_not_taken_for_a_channel(tmp_path: Path) -> None:
    for name in ("images/case7.nii.gz", "images/case7_0001.nii.gz", "masks/case7.nii.gz", "masks/case7_0001.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = find_corrected(tmp_path)
    assert [path.name for path in found["case7"].images] == ["case7.nii.gz"]
    assert [path.name for path in found["case7_0001"].images] == ["case7_0001.nii.gz"]


def test_a_name_that_cannot_be_a_scans_is_refused(place: Path) -> None:
    aside(place / "new", "case 7", *radiograph(2))
    before = manifest_path("chest").read_bytes()
    with pytest.raises(InputError, match="'case 7' cannot be a scan's id"):
        add_masks("chest", place / "new", None)
    assert manifest_path("chest").read_bytes() == before


def test_corrections_that_were_begun_outlast_the_next_run(tmp_path: Path) -> None:
    folder = tmp_path / "correction"
    aside(folder, "a", *radiograph(1))
    finish(folder)
    assert clear(folder) is None
    assert not folder.exists()
    aside(folder, "a", *radiograph(1))
    finish(folder)
    mask = next((folder / "masks").rglob("*.nii.gz"))
    os.utime(mask, (time.time() + 5, time.time() + 5))
    kept = clear(folder)
    assert kept == tmp_path / "correction-1"
    assert (kept / mask.relative_to(folder)).is_file()
    assert not folder.exists()


def _corrected(place: Path, study: str, *scans: int) -> Path:
    """A ``correction`` folder as ``predict`` leaves it."""
    for number in scans:
        aside(
            place / "correction",
            "a" if number == 1 else f"n{number}",
            *(radiograph if study == "chest" else phantom)(number),
        )
    finish(place / "correction")
    return place / "correction"


def _change(path: Path) -> None:
    image = nib.nifti1.load(path)
    data = np.asarray(image.dataobj).copy()
    data[:4, :4] = 0
    data[0, 0] = data.max()
    write_nifti(path, data, image.affine, "mm")


def test_only_what_a_person_changed_is_taken(place: Path) -> None:
    folder = _corrected(place, "knee", 1, 2, 3)
    before = manifest_path("knee").read_bytes()
    with pytest.raises(InputError, match="all 3 masks are as the model wrote them"):
        add_masks("knee", folder, None)
    assert manifest_path("knee").read_bytes() == before
    assert not Path("data/corrected").exists()
    _change(folder / "masks" / "n2.nii.gz")
    for file in (folder / "masks").iterdir():
        os.utime(file)  # copying makes files newer, and changes nothing
    said = add_masks("knee", folder, None)
    assert "1 new scans with masks, such as n2" in said[0]
    assert said[-1] == "2 masks are as the model wrote them, and were left out"
    assert [row["scan_id"] for row in read_table(manifest_path("knee"))] == ["a", "n2"]


def test_an_organ_that_nobody_changed_is_not_annotated(place: Path) -> None:
    folder = _corrected(place, "chest", 2)
    _change(folder / "masks" / "n2" / "left.nii.gz")
    said = add_masks("chest", folder, None)
    row = read_table(manifest_path("chest"))[1]
    assert (row["mask_left"], row.get("mask_right", "")) == ("corrected/chest/n2/left.nii.gz", "")
    assert row["not_annotated"] == "right"
    assert any("count as not annotated in 1 scans" in line for line in said)


def test_scans_without_masks_wait_as_before_in_a_study_of_one_organ(place: Path) -> None:
    write_yaml(Path("configs/one.yaml"), {"modality": "mri", "organs": ["left"], "overlapping": True})
    rows = [{"scan_id": name, "patient_id": name, "image": "a.nii.gz"} for name in ("a", "b")]
    rows[1]["patient_id"] = "a"
    write_table(manifest_path("one"), rows, list(rows[0]))
    scan, masks = phantom(1)
    write_nifti(
        Path("done/a/left.nii.gz"), scan.to_stored(masks["left"].astype(np.uint8)), stored_grid(scan).affine, "mm"
    )
    add_masks("one", Path("done"), None)
    first, second = load_manifest(manifest_path("one"), load_study("one")).rows
    assert (first.labelled, second.labelled) == (True, False)


def test_the_champions_own_export_is_no_correction(place: Path) -> None:
    folder = _corrected(place, "knee", 1)
    exported = StudyPaths("knee").exports / "nifti"
    exported.mkdir(parents=True)
    (exported / "a.nii.gz").write_bytes((folder / "masks" / "a.nii.gz").read_bytes())
    with pytest.raises(InputError, match="as the model wrote them"):
        add_masks("knee", exported, None)


def test_a_corrected_mask_is_not_written_over_unasked(place: Path) -> None:
    folder = _corrected(place, "knee", 1)
    _change(folder / "masks" / "a.nii.gz")
    add_masks("knee", folder, None)
    first = Path("data/corrected/knee/a.nii.gz").read_bytes()
    _corrected(place, "knee", 1)
    image = nib.nifti1.load(folder / "masks" / "a.nii.gz")
    write_nifti(folder / "masks" / "a.nii.gz", np.roll(np.asarray(image.dataobj), 1, axis=0), image.affine, "mm")
    with pytest.raises(InputError, match="1 masks were corrected before"):
        add_masks("knee", folder, None)
    assert Path("data/corrected/knee/a.nii.gz").read_bytes() == first
    assert "1 scans replaced" in add_masks("knee", folder, "second")[0]
    assert "1 scans replaced" in add_masks("knee", folder, None, force=True)[0]
    assert Path("data/corrected/knee/a.nii.gz").read_bytes() != first


def test_a_manifest_that_names_a_models_own_output_is_told(place: Path) -> None:
    folder = _corrected(place, "knee", 1)
    folder.rename("data/correction")
    rows = [{**row, "mask": "correction/masks/a.nii.gz"} for row in read_table(manifest_path("knee"))]
    write_table(manifest_path("knee"), rows, list(rows[0]))
    with pytest.raises(StopIteration):
        ingested("knee", "a")
    (row,) = read_table(StudyPaths("knee").rejected_csv)
    assert "is as a model wrote it, and no reference" in row["reason"]
    _change(Path("data/correction/masks/a.nii.gz"))
    assert ingested("knee", "a").mask("left").any()


def test_a_study_that_trains_nothing_says_what_will_happen(place: Path) -> None:
    config = read_yaml(Path("configs/knee.yaml"))
    write_yaml(Path("configs/knee.yaml"), {**config, "model": "models:/knee@champion"})
    folder = _corrected(place, "knee", 1)
    _change(folder / "masks" / "a.nii.gz")
    said = add_masks("knee", folder, None)
    assert "trains nothing: the next run measures the model against them" in said[0]


def test_no_data_folder_is_made_by_accident(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _corrected(place, "knee", 1)
    Path("data").rename("elsewhere")
    with pytest.raises(InputError, match="does not exist"):
        add_masks("knee", folder, None)
    with pytest.raises(InputError, match="Did you mean 'knee'"):
        add_masks("kne", folder, None)
    assert not Path("data").exists()
    assert not Path("results/kne").exists()
