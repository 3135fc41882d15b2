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
from pipeline.core.study import Study
from pipeline.formats.rle import RleTable, write_masks
from pipeline.formats.rle.pictures import file_name
from pipeline.formats.store import write_labels
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


def test_dialects_marks_those_of_which_no_file_was_seen() -> None:
    lines = call("dialects").output.splitlines()
    unseen = {line.split()[0] for line in lines if line.endswith("NOT SEEN")}
    assert unseen == {"tgs", "hubmap", "severstal", "uw-madison", "vesuvius"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["decode", "none.csv", "--dialect", "siim", "--out", "x"], "does not exist"),
        (["decode", "{here}/a.csv", "--dialect", "sim", "--out", "x"], "Did you mean 'siim'"),
        (["decode", "{here}/a.csv", "--dialect", "hubmap", "--size", "4", "--out", "x"], "'4' is not a size"),
        (["decode", "{here}/a.csv", "--dialect", "hubmap", "--out", "x"], "how large the picture is"),
        (["encode", "{here}/none.png", "--out", "x.csv"], "does not exist"),
        (["encode", "{here}", "--out", "x.csv"], "there is no mask"),
        (["encode", "{here}/a.csv", "--out", "x.csv"], "is not readable as a mask"),
        (["encode", "{here}/a.csv", "--organs", "1", "--out", "x.csv"], "is not VALUE=ORGAN"),
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
