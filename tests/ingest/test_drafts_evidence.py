"""What decides where names do not: contents, grids, counts; and what is left out, each file by name."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.ingest.drafts import Choices, Draft, draft
from tests.ingest.layouts.tree import write


def recorded(folder: Path, *names: str, shape: tuple[int, int, int] = (12, 10, 6)) -> None:
    for name in names:
        write(folder / name, recorded=True, shape=shape)


def drawn(folder: Path, *names: str, organs: int = 1) -> None:
    for name in names:
        write(folder / name, recorded=False, organs=organs)


def over_time(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(0).integers(0, 900, (12, 10, 6, 5)).astype(np.int16)
        nib.save(nib.Nifti1Image(values, np.eye(4)), folder / name)


def left_out(found: Draft) -> set[str]:
    return {path for paths in found.left_out.values() for path in paths}


def test_recordings_over_time_beside_single_frames(tmp_path: Path) -> None:
    for patient in ("001", "002"):
        place = f"patient{patient}/patient{patient}_"
        over_time(tmp_path, f"{place}4d.nii.gz")
        recorded(tmp_path, f"{place}frame01.nii.gz")
        drawn(tmp_path, f"{place}frame01_gt.nii.gz", organs=3)
    found = draft(tmp_path)
    assert [row["scan_id"] for row in found.rows] == ["patient001_frame01", "patient002_frame01"]
    assert left_out(found) == {"patient001/patient001_4d.nii.gz", "patient002/patient002_4d.nii.gz"}


def test_the_grid_tells_which_files_are_a_masks_scan(tmp_path: Path) -> None:
    for patient in ("0143", "0150"):
        recorded(tmp_path, f"P_{patient}/CTres.nii.gz", f"P_{patient}/SUV.nii.gz")
        recorded(tmp_path, f"P_{patient}/CT.nii.gz", f"P_{patient}/PET.nii.gz", shape=(16, 14, 8))
        drawn(tmp_path, f"P_{patient}/SEG.nii.gz")
    found = draft(tmp_path)
    assert found.rows[0]["image"] == "P_0143/CTres.nii.gz;P_0143/SUV.nii.gz"
    assert "P_0143/CT.nii.gz" in left_out(found)


def test_a_sequence_that_the_mask_names_is_its_scan(tmp_path: Path) -> None:
    for patient in ("020", "021"):
        recorded(tmp_path, f"{patient}/t2.nii.gz", f"{patient}/adc.nii.gz")
        drawn(tmp_path, f"{patient}/t2_tumor_reader1.nii.gz", f"{patient}/adc_tumor_reader1.nii.gz")
        drawn(tmp_path, f"{patient}/adc_tumor_reader2.nii.gz")
    found = draft(tmp_path)
    assert {row["image"]: row["mask"] for row in found.rows} == {
        f"{p}/{s}.nii.gz": f"{p}/{s}_tumor_reader1.nii.gz" for p in ("020", "021") for s in ("t2", "adc")
    }
    assert {row["patient_id"] for row in found.rows} == {"020", "021"}
    assert left_out(found) == {"020/adc_tumor_reader2.nii.gz", "021/adc_tumor_reader2.nii.gz"}


def test_what_readers_agreed_on_comes_before_their_own(tmp_path: Path) -> None:
    for eye in ("G-1-L", "G-2-L", "N-1-L"):
        recorded(tmp_path, f"{eye[0]}/Images/{eye}.jpg")
        for reader in ("Average", "Expert1", "Expert2"):
            drawn(tmp_path, *(f"{eye[0]}/{reader}_masks/{eye}-{organ}.png" for organ in ("Cup", "Disc")))
    found = draft(tmp_path)
    assert all(f"Average_masks/{row['scan_id']}-Cup.png" in row["mask_Cup"] for row in found.rows)
    assert len(left_out(found)) == 12


def test_counted_drawings_of_all_scans_are_refused(tmp_path: Path) -> None:
    for case in ("00000", "00001"):
        recorded(tmp_path, f"case_{case}/imaging.nii.gz")
        drawn(tmp_path, f"case_{case}/segmentation.nii.gz", organs=3)
        drawn(tmp_path, *(f"case_{case}/instances/tumor_annotation-{n}.nii.gz" for n in (1, 2)))
    with pytest.raises(InputError, match="differ in a number"):
        draft(tmp_path)
    found = draft(tmp_path, Choices(masks="segmentation"))
    assert [row["mask"] for row in found.rows] == [f"case_0000{n}/segmentation.nii.gz" for n in (0, 1)]


def test_few_scans_with_unclear_masks_are_left_out(tmp_path: Path) -> None:
    recorded(tmp_path, *(f"b ({n}).png" for n in range(1, 8)))
    drawn(tmp_path, *(f"b ({n})_mask.png" for n in range(1, 8)), "b (4)_mask_1.png")
    found = draft(tmp_path)
    assert len(found.rows) == 6
    assert left_out(found) == {"b (4).png", "b (4)_mask.png", "b (4)_mask_1.png"}


def test_names_that_contents_deny(tmp_path: Path) -> None:
    """A data set may be called after what is done with it: `…-Seg` holds the scans."""
    recorded(tmp_path, *(f"CT-Seg_20cases/a_{n}.nii.gz" for n in range(3)))
    drawn(tmp_path, *(f"Lung_Mask/a_{n}.nii.gz" for n in range(3)))
    found = draft(tmp_path)
    assert found.rows[0]["image"] == "CT-Seg_20cases/a_0.nii.gz"
    assert any("though named as masks" in note for note in found.notes)


def test_organs_that_look_like_patients_are_refused(tmp_path: Path) -> None:
    for case in ("a1", "b2", "c3", "d4"):
        recorded(tmp_path, f"{case}/images/{case}.png")
        drawn(tmp_path, *(f"{case}/masks/{case}q{letter}{case}.png" for letter in "xyz"))
    with pytest.raises(InputError, match="organs, or many drawings of one organ"):
        draft(tmp_path)


def test_masks_that_share_no_name_with_a_scan(tmp_path: Path) -> None:
    recorded(tmp_path, "images/a.png", "images/b.png")
    drawn(tmp_path, "masks/x.png", "masks/y.png")
    with pytest.raises(InputError, match="none of 2 masks has a scan"):
        draft(tmp_path)


def test_files_that_cannot_be_opened_and_whose_names_say_nothing(tmp_path: Path) -> None:
    for name in ("p1/one.nrrd", "p1/two.nrrd", "p2/one.nrrd", "p2/two.nrrd"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match="may be scan and mask, or two scans"):
        draft(tmp_path)


def test_a_folder_of_masks_alone(tmp_path: Path) -> None:
    drawn(tmp_path, "labels/a.nii.gz", "labels/b.nii.gz", organs=3)
    with pytest.raises(InputError, match=r"holds 2 files that look like masks, such as labels/a.nii.gz"):
        draft(tmp_path)


def test_unread_forms_are_named(tmp_path: Path) -> None:
    drawn(tmp_path, "masks/a.png", "masks/b.png")
    for name in ("images/a.ppm", "images/b.ppm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"P6")
    with pytest.raises(InputError, match=r"look like masks.*\.ppm is not read here: convert them \(2\)"):
        draft(tmp_path)


@pytest.mark.parametrize(
    ("names", "patients"),
    [
        (["p07_visit1", "p07_visit2", "p08_visit1"], 2),
        (["case1_T1", "case1_T2", "case2_T1"], 2),
        (["9001104_LEFT", "9001104_RIGHT", "9002116_LEFT"], 2),
        (["x01L", "x01R", "x02L"], 2),
        (["p1_baseline", "p1_12m", "p2_baseline"], 2),
        (["00000001_000", "00000001_001", "00000002_000", "00000002_001"], 2),
        (["TCGA-06-0119", "TCGA-06-0122", "TCGA-02-0003"], 3),
        (["2007_000032", "2007_000039", "2008_000063"], 3),
        (["img_001", "img_002", "img_003"], 3),
        (["patient1_a", "patient1_b", "patient2_a"], 2),
        (["sub-01_run-1", "sub-01_run-2", "sub-02_run-1"], 2),
        (["1_1", "1_2", "2_1", "2_2", "t1x"], 3),
        (["a_20190304", "a_20200211", "b_20190304"], 2),
    ],
)
def test_patients_by_names(tmp_path: Path, names: list[str], patients: int) -> None:
    recorded(tmp_path, *(f"images/{name}.png" for name in names))
    found = draft(tmp_path)
    assert len({row["patient_id"] for row in found.rows}) == patients
    assert any("--patients scans" in note for note in found.notes) == (patients < len(names))
    assert len({row["patient_id"] for row in draft(tmp_path, Choices(each=True)).rows}) == len(names)


@pytest.mark.parametrize(
    ("names", "patients"),
    [
        (["doe_jane/scan1", "doe_jane/scan2", "smith_john/scan1"], 2),
        (["dataset1/dataset1_0001_x", "dataset1/dataset1_0002_x", "dataset2/dataset2_0001_x"], 3),
        (["Task03_Liver/liver_004", "Task03_Liver/liver_005", "Task09_Spleen/spleen_001"], 3),
        (["siteA/000", "siteA/001", "siteB/000"], 3),
        (["V00/9000099", "V03/9000099", "V00/9000296"], 2),
        (["T1/x001", "T2/x001", "T1/x002", "T2/x002"], 2),
        (["p1/1", "p1/2", "p2/1", "p2/2"], 2),
        (["training01/training01_01", "training01/training01_02", "training02/training02_01"], 2),
    ],
)
def test_patients_by_folders(tmp_path: Path, names: list[str], patients: int) -> None:
    recorded(tmp_path, *(f"images/{name}.png" for name in names))
    assert len({row["patient_id"] for row in draft(tmp_path).rows}) == patients


def test_one_picture_in_two_places_is_said(tmp_path: Path) -> None:
    recorded(tmp_path, "set1/images/a.png", "set1/images/b.png", "set2/images/c.png")
    (tmp_path / "set2/images/a.png").write_bytes((tmp_path / "set1/images/a.png").read_bytes())
    (note,) = (note for note in draft(tmp_path).notes if "the same file" in note)
    assert note.startswith("set1/images/a.png and set2/images/a.png are the same file: drop one")


def test_tables_that_may_hold_masks_are_named(tmp_path: Path) -> None:
    recorded(tmp_path, "images/a.png", "images/b.png")
    for name in ("labels/a.txt", "train_rle.csv", "ages.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    found = draft(tmp_path)
    (reason,) = (reason for reason in found.left_out if "may hold masks" in reason)
    assert found.left_out[reason] == ["labels/a.txt", "train_rle.csv"]
    assert found.left_out["no images"] == ["ages.csv"]
