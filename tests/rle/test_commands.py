"""``organseg rle``: every command on small files, through its own way in."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from pipeline.cli.rle import app
from pipeline.core.errors import InputError
from pipeline.core.files import read_table, write_table
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.scan import Scan
from pipeline.core.study import Ingest, Study
from pipeline.formats.nifti.labels import write_label_files
from pipeline.formats.rle import DIALECTS, Dialect, RleTable, write_masks
from pipeline.formats.rle.dialects import READ_ONLY
from pipeline.formats.rle.lookup import read_rle_masks
from pipeline.formats.rle.pictures import file_name
from pipeline.formats.rle.tables import open_table, write_rows
from pipeline.formats.rle.volume import on_stored_grid
from pipeline.formats.store import write_labels, write_scan
from pipeline.rle import run

from .phantoms import random_mask, write_reference


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def write_pictures(folder: Path) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    folder.mkdir()
    masks = {}
    for name in ("a__heart", "a__left lung", "b__heart"):
        masks[name] = random_mask(rng, 30, 50, "ellipses")
        Image.fromarray(masks[name].astype(np.uint8) * 255).save(folder / f"{name}.png")
    return masks


@pytest.mark.parametrize(("dialect", "suffix"), [("organseg", ".csv"), ("chexmask", ".csv.gz"), ("coco", ".json")])
def test_pictures_there_and_back(tmp_path: Path, dialect: str, suffix: str) -> None:
    masks = write_pictures(tmp_path / "in")
    file = tmp_path / f"masks{suffix}"
    assert call("encode", tmp_path / "in", "--dialect", dialect, "--out", file).exit_code == 0
    result = call("decode", file, "--dialect", dialect, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    for name, mask in masks.items():
        name = name.replace("heart", "Heart").replace("left lung", "Left Lung") if dialect == "chexmask" else name
        path = tmp_path / "out" / (file_name(*name.split("__")) + ".png")
        assert np.array_equal(np.asarray(Image.open(path)), mask * 255)


@pytest.mark.parametrize("axis", ["x", "z", "volume"])
def test_volumes_there_and_back(tmp_path: Path, axis: str) -> None:
    affine = np.array([[-0.7, 0, 0, 10], [0, 0.8, 0.1, -20], [0, 0.05, 2.5, 30], [0, 0, 0, 1]])
    labels = np.random.default_rng(1).integers(0, 3, (7, 9, 5)).astype(np.uint8)
    image = nib.Nifti1Image(labels, affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / "scan1.nii.gz")
    file = tmp_path / "masks.parquet"
    result = call("encode", tmp_path / "scan1.nii.gz", "--organs", "1=liver,2=spleen", "--axis", axis, "--out", file)
    assert result.exit_code == 0, result.output
    assert call("decode", file, "--out", tmp_path / "out").exit_code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["scan1__liver.nii.gz", "scan1__spleen.nii.gz"]
    for value, organ in ((1, "liver"), (2, "spleen")):
        back = nib.load(tmp_path / "out" / f"scan1__{organ}.nii.gz")
        assert np.array_equal(np.asarray(back.dataobj), labels == value)
        assert np.allclose(back.affine, affine, atol=1e-5)


def test_ids_never_lead_out_of_the_folder(tmp_path: Path) -> None:
    names = ["../../evil", "/etc/passwd", "a/b", "a_b", "..", "C:\\x", "ä" * 300, "a\nb"]
    with open(tmp_path / "masks.csv", "w", newline="") as handle:
        csv.writer(handle).writerows([["id", "rle"], *([name, "1 2"] for name in names)])
    result = call(
        "decode", tmp_path / "masks.csv", "--dialect", "hubmap", "--size", "4x5", "--out", tmp_path / "o" / "p"
    )
    assert result.exit_code == 0, result.output
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix == ".png"]
    assert len(written) == len(names)
    assert {path.parent for path in written} == {tmp_path / "o" / "p"}


def test_rows_of_an_image_are_united_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "masks.csv").write_text("id,rle\na,1 1\nb,2 1\na,4 2\n")
    assert (
        call("decode", tmp_path / "masks.csv", "--dialect", "hubmap", "--size", "3x3", "--out", tmp_path).exit_code == 0
    )
    flat = np.asarray(Image.open(tmp_path / "a__mask.png")).ravel(order="F")
    assert flat.nonzero()[0].tolist() == [0, 3, 4]


def test_decode_refuses_what_nobody_named_and_takes_what_is_clear(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    square, oblong = tmp_path / "square.csv", tmp_path / "oblong.csv"
    write_reference(square, "kaggle", [random_mask(rng, 64, 64, "ellipses") for _ in range(6)])
    masks = [random_mask(rng, 64, 140, "ellipses") for _ in range(6)]
    write_reference(oblong, "vesuvius", masks)
    with pytest.raises(InputError, match="none is clear: nothing tells"):
        call("decode", square, "--size", "64x64", "--out", tmp_path / "no")
    assert not (tmp_path / "no").exists()
    result = call("decode", oblong, "--size", "64x140", "--out", tmp_path / "yes")
    assert "dialect vesuvius" in result.output
    assert np.array_equal(np.asarray(Image.open(tmp_path / "yes" / "image3__mask.png")), masks[3] * 255)


def test_detect_prints_a_ranking_and_json(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    write_reference(tmp_path / "m.csv", "kaggle", [random_mask(rng, 64, 140, "ellipses") for _ in range(6)])
    result = call("detect", tmp_path / "m.csv", "--size", "64x140")
    assert (result.exit_code, result.output.splitlines()[0]) == (0, "dialect: kaggle")
    assert "times as long" in result.output
    found = json.loads(call("detect", tmp_path / "m.csv", "--size", "64x140", "--json").output)
    assert found["dialect"] == "kaggle"
    assert found["ranking"][0]["order"] == "column"
    assert call("detect", tmp_path / "m.csv").exit_code == 3


def test_convert_and_stats(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,rle\na,1 2 5 1\n")
    words = ("--from", "hubmap", "--size", "4x5")
    assert call("convert", tmp_path / "a.csv", *words, "--to", "siim", "--out", tmp_path / "b.csv").exit_code == 0
    assert (tmp_path / "b.csv").read_text() == "ImageId,EncodedPixels\na, 0 2 2 1\n"
    assert (
        call("stats", tmp_path / "b.csv", "--dialect", "siim", "--size", "4x5", "--out", tmp_path / "s.csv").exit_code
        == 0
    )
    (row,) = read_table(tmp_path / "s.csv")
    assert (row["area"], row["runs"], row["bottom"], row["right"]) == ("3", "2", "1", "1")


def test_lenient_lists_its_repairs(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,rle\na,1 2 5\n")
    words = ("decode", tmp_path / "a.csv", "--dialect", "hubmap", "--size", "4x5", "--out", tmp_path)
    with pytest.raises(InputError, match="not an even count"):
        call(*words)
    result = call(*words, "--lenient")
    assert "row 2, column 'rle': token 3: dropped a start without a length" in result.output


FAULTS = {
    "odd number of tokens": ("1 2 5", 3, "not an even count"),
    "overlap": ("1 3 3 2", 3, "overlaps"),
    "past the end": ("1 2 19 3", 3, "past the end of a picture of 4×5"),
    "unsorted": ("9 2 1 2", 3, "not sorted"),
    "zero length": ("1 2 5 0", 4, "length is 0"),
    "negative length": ("1 2 5 -3", 4, "length is -3"),
    "no number": ("1 2 five 3", 3, "'five' is not a whole number"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_every_fault_is_told_with_file_row_column_and_token(tmp_path: Path, fault: str, suffix: str) -> None:
    cell, token, words = FAULTS[fault]
    path, out = tmp_path / f"masks{suffix}", tmp_path / "out"
    with write_rows(path, ["id", "rle"]) as rows:
        rows.write([["a", "1 2"], ["b", "3 1 5 2"], ["c", cell], ["d", "1 2 3"]])
    given = ("--size", "4x5", "--out")
    for command in (
        ("decode", path, "--dialect", "hubmap", *given, out),
        ("stats", path, "--dialect", "hubmap", *given, tmp_path / "s.csv"),
        ("convert", path, "--from", "hubmap", "--to", "siim", *given, tmp_path / "c.csv"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            call(*command)
        assert caught.value.where == f"{path}, row 4, column 'rle', token {token}"
        result = call(*command, "--lenient")
        assert result.exit_code == 0
        assert f"{path}, row 4, column 'rle': " in result.output
        assert result.output.splitlines()[-1].endswith("4 masks, 2 repairs")


def test_a_mask_of_a_wrong_size_is_told_in_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "masks.csv"
    path.write_text('image_id,segmentation\na,"{""size"": [4, 5], ""counts"": [3, 4, 14]}"\n')
    with pytest.raises(InputError, match="add up to 21, not to the 20 pixels of a picture of 4×5") as caught:
        call("stats", path, "--out", tmp_path / "s.csv")
    assert caught.value.where == f"{path}, row 2, column 'segmentation', token 3"


def test_a_new_dialect_is_one_entry_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By rows, gaps from 1, empty as ``none``, columns of its own: nothing else is written for it."""
    entry = Dialect(
        name="mine",
        order="row",
        base=1,
        kind="gap-length",
        empty=("none",),
        id_columns=("picture",),
        mask_columns=("gaps",),
        class_columns=("what",),
    )
    monkeypatch.setitem(DIALECTS, "mine", entry)
    masks = write_pictures(tmp_path / "in")
    Image.fromarray(np.zeros((30, 50), np.uint8)).save(tmp_path / "in" / "c__heart.png")
    masks["c__heart"] = np.zeros((30, 50), bool)
    file, ours = tmp_path / "m.csv.gz", tmp_path / "ours.csv"
    size = ("--size", "30x50")
    assert call("encode", tmp_path / "in", "--dialect", "mine", "--out", file).exit_code == 0
    with open_table(file) as table:
        assert table.columns == ["picture", "what", "gaps"]
        assert [cells for *_, cells in table.records][-1] == ["c", "heart", "none"]
    assert call("convert", file, "--from", "mine", *size, "--to", "organseg", "--out", ours).exit_code == 0
    assert call("decode", file, "--dialect", "mine", *size, "--out", tmp_path / "out").exit_code == 0
    for name, mask in masks.items():
        organ = name.split("__")[1]
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / f"{name}.png")), mask * 255)
        back = RleTable(ours).masks(name[0], ["heart", "left lung"], (50, 30, 1))[organ]
        assert np.array_equal(back[:, :, 0].T, mask)
    assert "mine" in call("dialects").output
    assert any("mine" in one["dialects"] for one in json.loads(call("detect", file, *size, "--json").output)["ranking"])


def test_dialects_marks_those_of_which_no_file_was_seen() -> None:
    lines = call("dialects").output.splitlines()
    unseen = {line.split()[0] for line in lines if line.endswith("NOT SEEN")}
    assert unseen == {"tgs", "hubmap", "severstal", "uw-madison", "vesuvius", *READ_ONLY}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["decode", "none.csv", "--dialect", "siim", "--out", "x"], "does not exist"),
        (["decode", "{here}/a.csv", "--dialect", "sim", "--out", "x"], "Did you mean 'siim'"),
        (["decode", "{here}/a.csv", "--dialect", "hubmap", "--size", "4", "--out", "x"], "'4' is not a size"),
        (["decode", "{here}/a.csv", "--dialect", "hubmap", "--out", "x"], "how large the picture is"),
        (
            ["decode", "{here}/a.csv", "--dialect", "hubmap", "--images", "{here}/no", "--out", "x"],
            "folder does not exist",
        ),
        (["encode", "{here}/none.png", "--out", "x.csv"], "does not exist"),
        (["encode", "{here}", "--out", "x.csv"], "there is no mask"),
        (["encode", "{here}/a.csv", "--out", "x.csv"], "is not readable as a mask"),
        (["encode", "{here}/a.csv", "--organs", "1", "--out", "x.csv"], "is not VALUE=ORGAN"),
        (["encode", "{here}/a.csv", "--organs", "1=liver,2=liver", "--out", "x.csv"], "each value and name once"),
        (
            ["convert", "{here}/a.csv", "--from", "hubmap", "--size", "4x4", "--to", "siim", "--out", "{here}/x.txt"],
            ".csv",
        ),
        (["convert", "{here}/a.csv", "--from", "hubmap", "--to", "siim", "--out", "{here}/x.json"], "is a table"),
    ],
)
def test_wrong_calls_say_what_to_mend(tmp_path: Path, words: list[str], message: str) -> None:
    (tmp_path / "a.csv").write_text("id,rle\na,1 2\n")
    with pytest.raises(InputError) as caught:
        call(*(word.replace("{here}", str(tmp_path)) for word in words))
    assert message in str(caught.value)


def test_a_mask_with_smoothed_values_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.arange(200, dtype=np.uint8).reshape(10, 20)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="holds 199 values"):
        call("encode", tmp_path / "a.png", "--out", tmp_path / "a.csv")


def test_the_stage_writes_what_was_ingested(tmp_path: Path) -> None:
    paths = StudyPaths("demo", tmp_path)
    study = Study.model_validate({"modality": "xray", "organs": ["heart", "left_lung"], "overlapping": True})
    rng = np.random.default_rng(3)
    maps = {}
    for number in range(5):
        masks = {organ: random_mask(rng, 20, 30, "ellipses")[:, :, None] for organ in study.organ_names()}
        maps[f"scan{number}"] = LabelMap.from_masks(masks, np.eye(4), study.organ_names(), overlapping=True)
        write_labels(paths.mask(number % 2, f"scan{number}"), maps[f"scan{number}"], "px")
    rows = [{"scan_id": key, "shard": int(key[-1]) % 2, "spacing_source": "unknown"} for key in (*maps, "scan9")]
    write_table(paths.scans_csv, rows, ["scan_id", "shard", "spacing_source"])
    said: list[str] = []
    out = run(study, paths, say=said.append)
    assert out == paths.masks_rle
    assert "5 scans" in said[0]
    table = RleTable(out)
    assert table.ids() == sorted(maps)
    for key, labels in maps.items():
        for organ, mask in table.masks(key, study.organ_names(), (20, 30, 1)).items():
            assert np.array_equal(mask, labels.mask(organ))
    assert {row["unit"] for row in read_table(out)} == {"px"}


@pytest.mark.parametrize("axis", ["z", "x", "volume"])
@pytest.mark.parametrize("overlapping", [False, True])
def test_decoded_volumes_are_the_exported_files_voxel_for_voxel(tmp_path: Path, axis: str, overlapping: bool) -> None:
    """The scan's file has other axes than the store: both ways of writing a prediction go back to those."""
    affine = np.array([[0, -0.8, 0.1, 20], [0, 0.05, -2.5, 30], [-0.7, 0, 0, 10], [0, 0, 0, 1]])
    stored = Scan(np.zeros((1, 7, 9, 5), np.float32), affine, "mri")
    scan = stored.canonical()
    rng = np.random.default_rng(3)
    masks = {organ: rng.random(scan.shape) < 0.3 for organ in ("liver", "spleen")}
    labels = LabelMap.from_masks(masks, scan.affine, list(masks), overlapping=overlapping)
    files = write_label_files(tmp_path / "export", "s1", scan, labels, {"liver": 1, "spleen": 2})
    write_masks(tmp_path / "m.csv", [("s1", on_stored_grid(scan, labels), "mm")], axis=axis)
    assert call("decode", tmp_path / "m.csv", "--out", tmp_path / "out").exit_code == 0
    for organ, (path, value) in files.items():
        exported, decoded = nib.load(path), nib.load(tmp_path / "out" / f"s1__{organ}.nii.gz")
        assert np.array_equal(np.asarray(decoded.dataobj) != 0, np.asarray(exported.dataobj) == value)
        assert np.allclose(decoded.affine, exported.affine, atol=1e-5)
        assert decoded.header.get_xyzt_units()[0] == exported.header.get_xyzt_units()[0] == "mm"


def test_the_stage_counts_slices_as_the_files_of_the_scans_do(tmp_path: Path) -> None:
    paths = StudyPaths("demo", tmp_path)
    values = {"modality": "mri", "organs": ["liver", "spleen"], "export": {"rle_dialect": "uw-madison"}}
    study = Study.model_validate(values)
    affine = np.array([[-0.7, 0, 0, 10], [0, 0.8, 0, -20], [0, 0, -2.5, 30], [0, 0, 0, 1]])
    scan = Scan(np.zeros((1, 7, 9, 5), np.float32), affine, "mri").canonical()
    rng = np.random.default_rng(3)
    masks = {organ: rng.random(scan.shape) < 0.3 for organ in study.organ_names()}
    labels = LabelMap.from_masks(masks, scan.affine, study.organ_names(), overlapping=False)
    write_scan(paths.scan(0, "s1"), scan)
    write_labels(paths.mask(0, "s1"), labels)
    rows = [{"scan_id": "s1", "shard": 0, "spacing_source": "patient"}]
    write_table(paths.scans_csv, rows, ["scan_id", "shard", "spacing_source"])
    out = run(study, paths)
    options = Ingest(rle_dialect="uw-madison")
    back = read_rle_masks(out, scan, study.organs, options, ["s1"])
    for organ in study.organ_names():
        assert np.array_equal(back[organ], labels.mask(organ))


def test_masks_of_one_image_in_two_places_are_refused(tmp_path: Path) -> None:
    for organ, shift in (("liver", 0), ("spleen", 3)):
        affine = np.eye(4)
        affine[0, 3] = shift
        nib.save(nib.Nifti1Image(np.ones((3, 4, 5), np.uint8), affine), tmp_path / f"s1__{organ}.nii.gz")
    with pytest.raises(InputError, match="lies elsewhere than other masks of 's1'"):
        call("encode", tmp_path, "--out", tmp_path / "m.csv")
    assert not (tmp_path / "m.csv").exists()


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, pipeline.rle, pipeline.formats.rle, pipeline.cli.rle;"
        "print([m for m in ('torch', 'monai', 'mlflow', 'pandas', 'SimpleITK', 'pyarrow') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_memory_does_not_grow_with_rows(tmp_path: Path) -> None:
    import tracemalloc

    shape = (16, 16, 1)
    mask = np.zeros(shape, bool)
    mask[3:9, 4:12] = True
    labels = LabelMap.from_masks({"heart": mask}, np.eye(4), ["heart"], overlapping=True)
    peaks = []
    for count in (100, 800):
        tracemalloc.start()
        write_masks(tmp_path / "m.csv", ((f"s{i}", labels, "mm") for i in range(count)))
        call("convert", tmp_path / "m.csv", "--to", "kaggle", "--out", tmp_path / "k.csv.gz")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 200_000
