"""Scans and organs of folders of masks, told by paths, grids and contents: one row a layout."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.formats.mask_folder import LAYOUTS, Look, Reading, list_files, readings, stem
from pipeline.formats.mask_words import organ_rank

ROOT = Path("/masks")
SCANS = ("s01", "s02", "s03")


def read(paths: list[str], *, labels: bool = False, images: tuple[str, ...] = (), grid: str = "scan") -> list[Reading]:
    """The readings of a folder of these files.

    ``grid`` says which part of a path decides a file's grid; without it nobody knows any grid.
    """

    def look(path: Path, content: bool) -> Look:
        name = path.relative_to(ROOT).as_posix()
        if any(word in name for word in images):
            return Look("image")
        where = next((scan for scan in SCANS if scan in name), name) if grid == "scan" else grid
        return Look("labels" if labels else "one", (where,) if grid else None, grid != "")

    return readings(ROOT, [ROOT / path for path in paths], look)


def made(form: str, scans: tuple[str, ...] = SCANS, organs: tuple[str, ...] = ("liver", "left_kidney")) -> list[str]:
    return [form.format(scan=scan, organ=organ) for scan, organ in itertools.product(scans, organs)]


@pytest.mark.parametrize(
    "form",
    [
        "{scan}/{organ}.nii.gz",
        "{organ}/{scan}.png",
        "{scan}_{organ}.nii.gz",
        "{scan}__{organ}.png",
        "{organ}_{scan}.png",
        "{scan}/{scan}_{organ}.nii.gz",
        "{scan}/segmentations/{organ}.nii.gz",
        "masks/{organ}/{scan}_mask.png",
        "{scan}/{organ}_seg.nii.gz",
        "{scan}-{organ}.tif",
    ],
)
@pytest.mark.parametrize("grid", ["scan", "", "one for all"])
def test_organs_in_paths(form: str, grid: str) -> None:
    (found,) = read(made(form), grid=grid)
    assert {scan.removesuffix("_mask") for scan in found.files} == set(SCANS)
    assert found.organs == ["left_kidney", "liver"]
    assert all(len(own) == 2 for own in found.files.values())


@pytest.mark.parametrize("organs", [("wing", "tail"), ("heart", "Left Lung"), ("vertebrae_L1", "rib_left_1", "spleen")])
def test_words_that_nobody_knows_are_organs_where_they_come_again_in_every_scan(organs: tuple[str, ...]) -> None:
    (found,) = read(made("{scan}/{organ}.png", organs=organs), grid="")
    assert set(found.files) == set(SCANS)
    assert set(found.organs) == set(organs)


def test_people_may_have_names() -> None:
    (found,) = read(made("{scan}/{organ}.png", ("anna", "bert"), ("femur", "tibia")), grid="")
    assert (set(found.files), found.organs) == ({"anna", "bert"}, ["femur", "tibia"])


@pytest.mark.parametrize(
    ("paths", "scans"),
    [
        (["case0/seg.nii.gz", "case1/seg.nii.gz"], {"case0", "case1"}),
        (["siteA/000.png", "siteA/001.png", "siteB/000.png"], {"siteA/000", "siteA/001", "siteB/000"}),
        (["A/000.png", "A/001.png", "B/000.png", "B/001.png"], {"A/000", "A/001", "B/000", "B/001"}),
        (["train/a1.png", "test/a2.png"], {"train/a1", "test/a2"}),
        (["p1/1.png", "p1/2.png", "p2/1.png"], {"p1/1", "p1/2", "p2/1"}),
        (["p1/img1.png", "p1/img2.png", "p2/img1.png", "p2/img2.png"], {"p1/img1", "p1/img2", "p2/img1", "p2/img2"}),
        (
            ["01_left.png", "01_right.png", "02_left.png", "02_right.png"],
            {"01_left", "01_right", "02_left", "02_right"},
        ),
        (["knee_001.png", "knee_002.png"], {"knee_001", "knee_002"}),
        (["sub-01/anat/sub-01_T1w_dseg.nii.gz", "sub-02/anat/sub-02_T1w_dseg.nii.gz"], {"sub-01", "sub-02"}),
    ],
)
def test_each_file_is_a_scan(paths: list[str], scans: set[str]) -> None:
    (found,) = read(paths, grid="")
    assert set(found.files) == scans
    assert found.organs == []


def test_files_of_several_labels_are_never_organs() -> None:
    (found,) = read(made("{organ}/{scan}.nii.gz"), labels=True)
    assert found.organs == []
    assert len(found.files) == 6


def test_organs_of_one_scan() -> None:
    (found,) = read(["liver.nii.gz", "spleen.nii.gz"], grid="one")
    assert (set(found.files), found.organs) == ({"masks"}, ["liver", "spleen"])
    (found,) = read(["x_liver.nii.gz", "x_spleen.nii.gz"], grid="one")
    assert found.organs == ["liver", "spleen"]
    (found,) = read(["x/foo.png", "x/bar.png"], grid="")
    assert (set(found.files), found.organs) == ({"x"}, ["bar", "foo"])
    (found,) = read(["anna.png", "bert.png"], grid="")
    assert set(found.files) == {"anna", "bert"}


def test_masks_of_unlike_size_are_no_organs_of_one_scan() -> None:
    (found,) = read(["knee/s01.png", "hip/s01.png", "knee/s02.png", "hip/s02.png"])
    assert found.organs == ["hip", "knee"]
    (found,) = read(["knee_s01.png", "hip_s02.png"])
    assert found.organs == []


def test_grids_tell_where_names_do_not() -> None:
    (found,) = read([f"{scan}/{number}.nii.gz" for scan in SCANS for number in (1, 2)])
    assert (set(found.files), found.organs) == (set(SCANS), ["1", "2"])
    (found,) = read([f"{word}/{scan}x.png" for scan in SCANS for word in ("alpha", "beta")])
    assert found.organs == ["alpha", "beta"]


def test_what_nothing_tells_has_several_readings() -> None:
    numbers = read([f"{a}/{b}.nii.gz" for a in ("7", "8") for b in ("1", "2")], grid="same")
    assert {one.layout for one in numbers} == set(LAYOUTS)
    words = read([f"{a}/{b}.png" for a in ("alpha", "beta") for b in ("gamma", "omega")], grid="")
    assert {one.layout for one in words} == {"scan/organ", "organ/scan"}
    (given,) = readings(
        ROOT, [ROOT / "7/1.png", ROOT / "8/1.png", ROOT / "7/2.png"], lambda *_: Look("one"), "organ/scan"
    )
    assert given.files == {"1": {"7": ROOT / "7/1.png", "8": ROOT / "8/1.png"}, "2": {"7": ROOT / "7/2.png"}}
    with pytest.raises(InputError, match="no folders"):
        readings(ROOT, [ROOT / "1.png"], lambda *_: Look("one"), "organ/scan")


def test_images_beside_masks_are_passed_over() -> None:
    paths = [*made("{scan}/{organ}.nii.gz", organs=("mri",)), *made("{scan}/segmentations/{organ}.nii.gz")]
    (found,) = read(paths, images=("mri",))
    assert found.organs == ["left_kidney", "liver"]
    assert len(found.passed_over) == 3
    (found,) = read(["s01/imaging.nii.gz", "s01/segmentation.nii.gz", "s02/imaging.nii.gz", "s02/segmentation.nii.gz"])
    assert {scan: path.name for scan, own in found.files.items() for path in own.values()} == {
        "s01": "segmentation.nii.gz",
        "s02": "segmentation.nii.gz",
    }


def test_hidden_files_are_none_and_linked_folders_are_entered_once(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    for name in ("a.png", "._a.png", ".DS_Store"):
        (tmp_path / "real" / name).write_bytes(b"x")
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "top")
    assert [path.name for path in list_files(tmp_path / "top")] == ["a.png"]


def test_names_without_endings() -> None:
    names = ("a.nii.gz", "a.seg.nrrd", "a.png", "a.seg.dcm", "a")
    assert {stem(Path(name)) for name in names} == {"a"}
    assert stem(Path("1.2.840.113619")) == "1.2.840.113619"


@pytest.mark.parametrize(
    ("names", "rank"),
    [
        ({"liver", "spleen"}, 2),
        ({"femur_l", "femur_r"}, 2),
        ({"heart", "x", "lung"}, 2),
        ({"class1", "class2"}, 1),
        ({"foo", "barn"}, 1),
        ({"siteA", "siteB"}, 0),
        ({"left", "right"}, 0),
        ({"case1", "case2"}, -1),
        ({"liver_1", "liver_2"}, -1),
    ],
)
def test_what_names_look_like(names: set[str], rank: int) -> None:
    assert organ_rank(names) == rank
