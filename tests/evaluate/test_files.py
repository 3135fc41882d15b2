"""``organseg evaluate PRED REF``: any two files or folders, matched, measured and printed."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipeline import evaluate
from pipeline.cli.evaluate import evaluate_files, parse_spacing
from pipeline.core.errors import EXIT_SOME_FAILED, InputError
from pipeline.core.files import read_table
from pipeline.core.labels import LabelMap, parse_organs
from pipeline.evaluate import compare
from pipeline.formats.rle.writing import write_masks
from pipeline.formats.store import write_labels
from tests.metrics.organ import organ_metrics

SHAPE = (14, 12, 9)
AFFINE = np.diag([1.5, 1.0, 2.0, 1.0])


def volume(shift: int = 0) -> np.ndarray:
    data = np.zeros(SHAPE, np.uint8)
    data[2 + shift : 7 + shift, 2:9, 1:6] = 1
    data[8:12, 3:8, 2:7] = 2
    return data


def save(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def picture(path: Path, pixels: np.ndarray, **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **how)
    return path


def only(rows: list[dict[str, str]], **cells: str) -> dict[str, str]:
    found = [row for row in rows if all(row[k] == v for k, v in cells.items())]
    assert len(found) == 1
    return found[0]


def test_two_volumes(tmp_path: Path) -> None:
    compared = compare(save(tmp_path / "a.nii.gz", volume(1)), save(tmp_path / "b.nii", volume()))
    expected = organ_metrics(volume(1) == 1, volume() == 1, (1.5, 1.0, 2.0))
    row = only(compared.rows, organ="1")
    assert float(row["dice"]) == pytest.approx(expected.dice)
    assert float(row["hd95"]) == pytest.approx(expected.hd95)
    assert float(row["nsd_2"]) == pytest.approx(expected.nsd[2.0])
    assert (row["unit"], row["volume_unit"]) == ("mm", "mL")
    assert only(compared.rows, organ="2")["dice"] == "1"


def test_figures_are_numbers_where_they_are_defined(tmp_path: Path) -> None:
    compared = evaluate.compare(
        str(save(tmp_path / "a.nii", volume() * (volume() == 1))), save(tmp_path / "b.nii", volume())
    )
    missed = next(row for row in compared.figures() if row["organ"] == "2")
    assert (missed["case"], missed["dice"], missed["hd95"]) == ("empty_prediction", 0.0, None)
    assert set(missed) <= set(compared.columns())
    assert json.loads(json.dumps(compared.facts()))["scans"] == compared.figures()


def test_axis_order_of_the_files_does_not_matter(tmp_path: Path) -> None:
    turned = save(
        tmp_path / "turned.nii.gz",
        volume()[::-1].transpose(1, 0, 2),
        AFFINE @ np.array([[0, -1, 0, SHAPE[0] - 1], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
    )
    compared = compare(turned, save(tmp_path / "plain.nii.gz", volume()))
    assert {row["dice"] for row in compared.rows} == {"1"}


def test_other_shapes_and_places_are_errors(tmp_path: Path) -> None:
    plain = save(tmp_path / "plain.nii.gz", volume())
    with pytest.raises(InputError, match="the prediction is 14 × 12 × 8 and the reference 14 × 12 × 9"):
        compare(save(tmp_path / "short.nii.gz", volume()[..., 1:]), plain)
    moved = AFFINE.copy()
    moved[0, 3] = 4
    with pytest.raises(InputError, match="different places"):
        compare(save(tmp_path / "moved.nii.gz", volume(), moved), plain)
    with pytest.raises(InputError, match="hold their spacing"):
        compare(plain, plain, spacing=(1, 1, 1))
    with pytest.raises(InputError, match="does not exist"):
        compare(tmp_path / "none.png", plain)


def test_organs_by_value(tmp_path: Path) -> None:
    pair = save(tmp_path / "a.nii.gz", volume(1)), save(tmp_path / "b.nii.gz", volume())
    compared = compare(*pair, organs=parse_organs("2=spleen, 3=kidney"))
    assert [row["organ"] for row in compared.rows] == ["spleen", "kidney"]
    assert only(compared.rows, organ="kidney")["case"] == "both_empty"
    assert parse_organs("liver,spleen") == {1: "liver", 2: "spleen"}
    for wrong in ("x=liver", "0=liver", "1=a,1=b", "1=a,2=a", "3="):
        with pytest.raises(InputError, match="names no organ"):
            parse_organs(wrong)


def test_spacing_of_pictures(tmp_path: Path) -> None:
    pixels = np.zeros((20, 30), np.uint8)
    pixels[5:15, 5:15] = 255
    pair = picture(tmp_path / "a.png", np.roll(pixels, 2, axis=1)), picture(tmp_path / "b.png", pixels)
    row = compare(*pair).rows[0]
    assert (row["organ"], row["unit"], row["volume_unit"], row["volume_ref"]) == ("mask", "px", "px²", "100")
    row = compare(*pair, spacing=parse_spacing("0.5,0.25")).rows[0]
    assert (row["unit"], row["volume_unit"], row["volume_ref"]) == ("mm", "cm²", "0.125")
    assert float(row["centroid_distance"]) == pytest.approx(1.0)
    for wrong in ("a", "1", "0,1", "1,2,3,4", "nan,1"):
        with pytest.raises(InputError, match="is no spacing"):
            parse_spacing(wrong)


def test_one_organ_goes_by_any_value_and_jpeg_borders(tmp_path: Path) -> None:
    pixels = np.zeros((64, 64), np.uint8)
    pixels[16:40, 16:40] = 1
    jpeg = picture(tmp_path / "a.jpg", pixels * 255, quality=60)
    compared = compare(jpeg, picture(tmp_path / "b.png", pixels))
    assert float(compared.rows[0]["dice"]) > 0.98
    photo = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    with pytest.raises(InputError, match="a picture, not a mask"):
        compare(picture(tmp_path / "c.png", photo), tmp_path / "b.png")


def test_colours_are_organs(tmp_path: Path) -> None:
    pixels = np.zeros((10, 10, 3), np.uint8)
    pixels[2:5, 2:5] = (255, 0, 0)
    pixels[6:9, 6:9] = (0, 255, 0)
    path = picture(tmp_path / "a.png", pixels)
    assert [(row["organ"], row["dice"]) for row in compare(path, path).rows] == [
        ("#00ff00", "1"),
        ("#ff0000", "1"),
    ]


def test_folders_are_matched_by_name_and_a_bad_scan_stops_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        save(tmp_path / "ref" / f"s{number}.nii.gz", volume())
        save(tmp_path / "pred" / f"s{number}.nii.gz", volume(number % 2))
    (tmp_path / "pred" / "s3.nii.gz").write_bytes(b"broken")
    save(tmp_path / "ref" / "s4.nii.gz", volume())
    save(tmp_path / "pred" / "s9.nii.gz", volume())
    table = tmp_path / "out" / "rows.csv"
    code = evaluate_files(tmp_path / "pred", tmp_path / "ref", csv=table)
    printed = capsys.readouterr()
    assert code == EXIT_SOME_FAILED
    assert "s3" in printed.err
    assert "has no prediction" in printed.err
    assert "1 predictions have no reference and were not measured: s9" in printed.out
    assert "left out of the averages" in printed.out
    rows = read_table(table)
    assert {row["scan_id"] for row in rows} == {"s0", "s1", "s2"}
    assert evaluate_files(tmp_path / "pred", tmp_path / "ref", as_json=True) == EXIT_SOME_FAILED
    facts = json.loads(capsys.readouterr().out)
    assert set(facts["failed"]) == {"s3", "s4"}
    assert facts["without_reference"] == ["s9"]
    mean = next(r for r in facts["summary"] if (r["organ"], r["metric"]) == ("1", "dice"))
    expected = [float(row["dice"]) for row in rows if row["organ"] == "1"]
    assert mean["mean"] == pytest.approx(np.mean(expected))
    assert mean["low"] <= mean["mean"] <= mean["high"]


def test_a_scan_without_prediction_is_counted_where_organs_are_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tmp_path / "ref" / f"{name}.nii.gz", volume())
    save(tmp_path / "pred" / "a.nii.gz", volume())
    save(tmp_path / "pred" / "c.nii.gz", volume())
    compared = compare(tmp_path / "pred", tmp_path / "ref", organs={1: "liver"})
    assert [(row["scan_id"], row["case"]) for row in compared.rows] == [("a", "both"), ("b", "no_prediction")]
    with pytest.raises(InputError, match="no mask has a name in common"):
        save(tmp_path / "other" / "x.nii.gz", volume())
        save(tmp_path / "other" / "y.nii.gz", volume())
        compare(tmp_path / "other", tmp_path / "ref")


def test_a_folder_that_changed_is_read_anew(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tmp_path / name / "liver.nii.gz", (volume() == 1).astype(np.uint8))
        save(tmp_path / name / "spleen.nii.gz", (volume() == 2).astype(np.uint8))
    assert {row["organ"] for row in compare(tmp_path / "a", tmp_path / "b").rows} == {"liver", "spleen"}
    for name in ("a", "b"):
        save(tmp_path / name / "liver.nii.gz", volume())
    found = compare(tmp_path / "a", tmp_path / "b")
    assert {row["scan_id"] for row in found.rows} == {"liver", "spleen"}


def test_one_label_here_and_another_there_are_one_organ_only_if_there_is_no_other(tmp_path: Path) -> None:
    for name in ("x", "y"):
        save(tmp_path / "ref" / f"{name}.nii.gz", (volume() == 1).astype(np.uint8))
        save(tmp_path / "pred" / f"{name}.nii.gz", (volume() == 1).astype(np.uint8) * 2)
    assert {(row["organ"], row["dice"]) for row in compare(tmp_path / "pred", tmp_path / "ref").rows} == {("mask", "1")}
    save(tmp_path / "ref" / "z.nii.gz", volume())
    save(tmp_path / "pred" / "z.nii.gz", volume())
    rows = compare(tmp_path / "pred", tmp_path / "ref").rows
    assert [row["dice"] for row in rows] == ["0", "0", "0", "0", "1", "1"]


def test_scans_that_fail_have_the_unit_of_the_others(tmp_path: Path) -> None:
    mask = np.zeros((12, 10), np.uint8)
    mask[2:5, 2:5] = 255
    for name in ("a", "b"):
        picture(tmp_path / "ref" / f"{name}.png", mask)
    picture(tmp_path / "pred" / "a.png", mask)
    picture(tmp_path / "pred" / "c.png", mask)
    rows = compare(tmp_path / "pred", tmp_path / "ref", {1: "lung"}).rows
    assert {(row["unit"], row["volume_unit"]) for row in rows} == {("px", "px²")}


def test_false_alarms_stand_beside_dice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nothing = np.zeros(SHAPE, np.uint8)
    for name, reference, prediction in (("a", volume(), volume()), ("b", nothing, volume()), ("c", nothing, nothing)):
        save(tmp_path / "ref" / f"{name}.nii.gz", reference)
        save(tmp_path / "pred" / f"{name}.nii.gz", prediction)
    evaluate_files(tmp_path / "pred", tmp_path / "ref", organs="liver,spleen", as_json=True)
    summary = json.loads(capsys.readouterr().out)["summary"]
    means = {row["metric"]: (row["mean"], row["n_scans"]) for row in summary if row["organ"] == "liver"}
    assert (means["dice"], means["dice_present"], means["false_alarm"]) == ((0.5, 2), (1.0, 1), (0.5, 2))
    evaluate_files(tmp_path / "pred", tmp_path / "ref", organs="liver,spleen")
    assert "Dice where present" in capsys.readouterr().out


def test_names_that_no_mask_has_are_refused(tmp_path: Path) -> None:
    for side, name in itertools.product(("pred", "ref"), ("a", "b")):
        save(tmp_path / side / name / "Left-Lung.nii.gz", (volume() == 1).astype(np.uint8))
        save(tmp_path / side / name / "heart.nii.gz", (volume() == 2).astype(np.uint8))
    with pytest.raises(InputError, match="and none liver"):
        compare(tmp_path / "pred", tmp_path / "ref", {1: "liver"})
    rows = compare(tmp_path / "pred", tmp_path / "ref", {1: "left_lung"}).rows
    assert {(row["organ"], row["dice"]) for row in rows} == {("left_lung", "1")}


def test_numbers_go_by_the_table_beside_the_other_side(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tmp_path / "set" / "labelsTr" / f"{name}.nii.gz", volume())
        save(tmp_path / "pred" / f"{name}.nii.gz", volume())
    (tmp_path / "set" / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "spleen": 1, "liver": 2}}))
    found = compare(tmp_path / "pred", tmp_path / "set" / "labelsTr")
    assert {(row["organ"], row["dice"]) for row in found.rows} == {("spleen", "1"), ("liver", "1")}
    assert any("only numbers" in line for line in found.told)


def test_folders_of_organs_and_files_of_organs(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for organ, value in (("heart", 1), ("lung", 2)):
            mask = (volume() == value)[:, :, 3].T.astype(np.uint8) * 255
            picture(tmp_path / "nested" / organ / f"{name}.png", mask)
            picture(tmp_path / "joined" / f"{name}__{organ}.png", mask)
    compared = compare(tmp_path / "joined", tmp_path / "nested")
    assert {(row["scan_id"], row["organ"], row["dice"]) for row in compared.rows} == {
        (name, organ, "1") for name in ("a", "b") for organ in ("heart", "lung")
    }


def test_our_own_label_maps_name_their_organs(tmp_path: Path) -> None:
    masks = {"liver": volume() == 1, "spleen": volume() == 2}
    own = LabelMap.from_masks(masks, AFFINE, ("liver", "spleen"), overlapping=True)
    write_labels(tmp_path / "own.nii.gz", own)
    compared = compare(tmp_path / "own.nii.gz", tmp_path / "own.nii.gz")
    assert [row["organ"] for row in compared.rows] == ["liver", "spleen"]
    plain = save(tmp_path / "plain.nii.gz", volume())
    with pytest.raises(InputError, match="--organs") as error:
        compare(plain, tmp_path / "own.nii.gz")
    assert "liver" in str(error.value)
    compared = compare(plain, tmp_path / "own.nii.gz", organs={1: "liver", 2: "spleen"})
    assert {row["dice"] for row in compared.rows} == {"1"}


def test_run_lengths_hold_their_place(tmp_path: Path) -> None:
    masks = {"liver": volume() == 1, "spleen": volume() == 2}
    turned = AFFINE @ np.array([[-1, 0, 0, SHAPE[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    ignore = np.zeros(SHAPE, bool)
    ignore[2] = True
    plain = LabelMap.from_masks(masks, AFFINE, ("liver", "spleen"), overlapping=False, ignore=ignore)
    mirrored = LabelMap.from_masks(
        {organ: mask[::-1] for organ, mask in masks.items()}, turned, ("liver", "spleen"), overlapping=False
    )
    write_masks(tmp_path / "ref.csv", [("s1", plain, "mm"), ("s2", plain, "mm")])
    write_masks(tmp_path / "pred.csv", [("s1", mirrored, "mm"), ("s2", plain, "mm")])
    compared = compare(tmp_path / "pred.csv", tmp_path / "ref.csv")
    assert {(r["scan_id"], r["organ"], r["dice"], r["unit"]) for r in compared.rows} == {
        (scan, organ, "1", "mm") for scan in ("s1", "s2") for organ in ("liver", "spleen")
    }
    assert float(only(compared.rows, scan_id="s1", organ="liver")["volume_ref"]) < (volume() == 1).sum() * 3 / 1000
    save(tmp_path / "files" / "s1.nii.gz", volume())
    save(tmp_path / "files" / "s2.nii.gz", volume())
    compared = compare(tmp_path / "files", tmp_path / "ref.csv", organs={1: "liver", 2: "spleen"})
    assert {row["dice"] for row in compared.rows} == {"1"}


def test_run_lengths_without_size_are_read_on_the_other_sides_grid(tmp_path: Path) -> None:
    mask = np.zeros((6, 8), np.uint8)
    mask[1:4, 2:5] = 255
    picture(tmp_path / "ref" / "s1.png", mask)
    picture(tmp_path / "ref" / "s2.png", mask)
    own = LabelMap.from_masks({"mask": (mask > 0).T[..., None]}, np.eye(4), ("mask",), overlapping=True)
    write_masks(tmp_path / "pred.csv", [("s1", own, "px"), ("s2", own, "px")], "kaggle")
    with pytest.raises(InputError, match="dialect"):
        compare(tmp_path / "pred.csv", tmp_path / "ref")
    compared = compare(tmp_path / "pred.csv", tmp_path / "ref", dialect="kaggle")
    assert [(row["scan_id"], row["dice"]) for row in compared.rows] == [("s1", "1"), ("s2", "1")]


@pytest.mark.parametrize("convention", ["smp", "metrics-reloaded"])
def test_conventions_are_printed_with_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], convention: str
) -> None:
    empty = save(tmp_path / "a.nii.gz", np.zeros(SHAPE, np.uint8))
    evaluate_files(empty, empty, organs="liver", convention=convention, as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["rule"].startswith(convention)
    assert facts["scans"][0]["dice"] == 1.0
    assert (facts["scans"][0]["iou"] is None) == (convention == "metrics-reloaded")
    with pytest.raises(InputError, match="no convention 'medpy'"):
        evaluate_files(empty, empty, convention="medpy")


def test_the_command_starts_without_heavy_imports() -> None:
    code = (
        "import sys, pipeline.cli.evaluate; "
        "sys.exit(bool({'torch', 'monai', 'mlflow', 'pandas', 'numpy', 'scipy', 'SimpleITK'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
