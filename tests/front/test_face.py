"""The functions of ``organseg`` on small files: they give and refuse what the commands do."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

import organseg
from organseg import rle


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """A scan whose file runs to the left, and its label volume."""
    grey = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[0, 1:3, 2] = 1
    labels[3, 4, 5] = 2
    for name, data in (("scan", grey), ("mask", labels)):
        nib.save(nib.Nifti1Image(data, np.diag([-2.0, 2.0, 3.0, 1.0])), tmp_path / f"{name}.nii.gz")
    return tmp_path


def test_a_scan_comes_with_its_place(volumes: Path) -> None:
    scan = organseg.read_scan(volumes / "scan.nii.gz")
    assert scan.shape == (4, 5, 6)
    assert scan.grid.orientation == "RAS"
    assert scan.spacing == (2.0, 2.0, 3.0)
    assert scan.voxels[0, 3, 0, 0] == 0, "the file's first column lies to the right, which is last in RAS+"


def test_channels_are_read_together(volumes: Path) -> None:
    path = str(volumes / "scan.nii.gz")
    assert organseg.read_scan([path, path], modality="mri").voxels.shape == (2, 4, 5, 6)


def test_what_is_no_scan_is_refused_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no scan")
    with pytest.raises(organseg.InputError, match="is a text file, not an image"):
        organseg.read_scan(tmp_path / "note.txt")


@pytest.mark.parametrize("organs", [["one", "two"], {1: "one", 2: "two"}])
def test_labels_lie_on_their_scan(volumes: Path, organs: object) -> None:
    scan = organseg.read_scan(volumes / "scan.nii.gz")
    labels = organseg.read_labels(volumes / "mask.nii.gz", organs, scan=scan)  # type: ignore[arg-type]
    assert labels.organs == ("one", "two")
    assert labels.mask("one").sum() == 2
    assert labels.mask("two")[0, 4, 5]
    alone = organseg.read_labels(volumes / "mask.nii.gz", organs)  # type: ignore[arg-type]
    assert np.array_equal(alone.data, labels.data)
    assert np.allclose(alone.affine, scan.affine)


def test_a_value_that_is_no_organ_is_refused(volumes: Path) -> None:
    with pytest.raises(organseg.InputError, match="2"):
        organseg.read_labels(volumes / "mask.nii.gz", ["one"])


def test_a_study_says_what_its_values_mean(volumes: Path) -> None:
    (volumes / "configs").mkdir()
    (volumes / "configs" / "heads.yaml").write_text("modality: mri\norgans: {a: {value: 2}, b: {value: 1}}\n")
    study = organseg.load_study("heads", root=str(volumes))
    assert organseg.read_labels(volumes / "mask.nii.gz", study=study).mask("b").sum() == 2
    with pytest.raises(organseg.InputError, match="there is no study 'head'"):
        organseg.load_study("head", root=volumes)


def test_a_demo_is_there_in_any_folder(tmp_path: Path) -> None:
    assert organseg.load_study("demo_mri", root=tmp_path).modality == "mri"
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "demo_mri.yaml").write_text("modality: ct\norgans: [a]\n")
    assert organseg.load_study("demo_mri", root=tmp_path).modality == "ct", "one's own comes first"


def test_masks_of_an_organ_each_and_pictures(tmp_path: Path) -> None:
    left, right = np.zeros((6, 8), np.uint8), np.zeros((6, 8), np.uint8)
    left[1:4, 1:3], right[2:5, 2:6] = 255, 255
    for name, mask in (("left", left), ("right", right)):
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
    files = {name: tmp_path / f"{name}.png" for name in ("left", "right")}
    labels = organseg.read_labels(files, overlapping=True)
    assert labels.data.shape == (8, 6, 1), "columns, rows, and one slice"
    assert labels.mask("left").sum() == 6
    assert labels.mask("right").sum() == 12
    assert organseg.read_labels(files).mask("left").sum() == 4, "without overlaps the later organ wins"


def test_run_lengths_need_the_scan_and_its_name(volumes: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "film.png")
    (tmp_path / "masks.csv").write_text("ImageId,EncodedPixels\nfilm,5 1 8 1\n")
    with pytest.raises(organseg.InputError, match="does not hold the grid of its scan"):
        organseg.read_labels(tmp_path / "masks.csv", ["lung"])
    film = organseg.read_scan(tmp_path / "film.png", modality="xray")
    labels = organseg.read_labels(tmp_path / "masks.csv", ["lung"], scan=film, name="film", dialect="kaggle")
    assert np.argwhere(labels.mask("lung")[..., 0]).tolist() == [[1, 1], [2, 1]], "column, row"


def test_evaluate_gives_a_row_a_scan_and_organ(volumes: Path) -> None:
    for folder in ("predictions", "references"):
        (volumes / folder).mkdir()
        for name in ("a", "b"):
            (volumes / folder / f"{name}.nii.gz").write_bytes((volumes / "mask.nii.gz").read_bytes())
    shifted = nib.load(volumes / "mask.nii.gz")
    moved = np.roll(np.asarray(shifted.dataobj), 1, axis=1)
    nib.save(nib.Nifti1Image(moved, shifted.affine), volumes / "predictions" / "b.nii.gz")
    found = organseg.evaluate(volumes / "predictions", volumes / "references", ["one", "two"])
    dice = found.table.set_index(["scan_id", "organ"])["dice"]
    assert dice["a", "one"] == dice["a", "two"] == 1
    assert dice["b", "one"] == 0.5
    assert dice["b", "two"] == 0
    mean = found.summary.query("organ == 'one' and metric == 'dice'")["mean"]
    assert mean.tolist() == [0.75]
    assert not found.failed
    assert not found.without_reference


def test_a_scan_that_cannot_be_measured_is_listed(volumes: Path) -> None:
    for folder, names in (("predictions", "ab"), ("references", "abc")):
        (volumes / folder).mkdir()
        for name in names:
            (volumes / folder / f"{name}.nii.gz").write_bytes((volumes / "mask.nii.gz").read_bytes())
    (volumes / "predictions" / "b.nii.gz").write_bytes(b"broken")
    found = organseg.evaluate(volumes / "predictions", volumes / "references", {1: "one", 2: "two"})
    assert set(found.failed) == {"b", "c"}
    assert "has no prediction" in found.failed["c"]


def test_run_lengths_there_and_back() -> None:
    mask = np.zeros((3, 4), bool)
    mask[1, 1:3] = True
    assert rle.encode(mask, "kaggle") == "5 1 8 1"
    assert np.array_equal(rle.decode("5 1 8 1", 3, 4, "kaggle"), mask)


def test_a_file_is_converted_and_its_dialect_weighed(tmp_path: Path) -> None:
    source, target = tmp_path / "masks.csv", tmp_path / "masks.json"
    source.write_text("ImageId,EncodedPixels\nfilm,5 1 8 1\n")
    assert rle.convert(source, target, "coco", dialect="kaggle", size=(3, 4)) == 1
    found = rle.detect(target)
    assert (found.dialect, found.declared) == ("coco", True)
    with pytest.raises(organseg.InputError, match="does not name its RLE dialect"):
        rle.convert(source, target, "coco", size=(3, 4))
