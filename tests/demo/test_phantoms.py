"""The demo's phantoms: the same bytes again, true geometry, organs on the right side, and the forms promised."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image
from scipy import ndimage

from pipeline.core.errors import InputError
from pipeline.core.files import read_table, sha256_of
from pipeline.core.labels import LabelMap
from pipeline.core.scan import FRONTAL_AFFINE, Grid, to_canonical
from pipeline.demo import make
from pipeline.demo.chest import ORGANS, Chest
from pipeline.demo.rays import Beam, Scene, length_without, turn, union_length
from pipeline.demo.write_files import PALETTE, write_palette_png

COUNT = 12

Rows = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def xray(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Rows]:
    root = tmp_path_factory.mktemp("xray")
    make("demo_xray", root / "demo_xray.csv", root / "data", seed=3, count=COUNT)
    return root / "data", {row["scan_id"]: row for row in read_table(root / "demo_xray.csv")}


@pytest.fixture(scope="module")
def mri(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Rows]:
    root = tmp_path_factory.mktemp("mri")
    make("demo_mri", root / "demo_mri.csv", root / "data", seed=3, count=COUNT)
    return root / "data", {row["scan_id"]: row for row in read_table(root / "demo_mri.csv")}


def chest_masks(data: Path, row: dict[str, str]) -> dict[str, np.ndarray]:
    """Masks ``(rows, columns)`` of a good radiograph in whatever form they are."""
    if row["mask_heart"]:
        return {organ: np.asarray(Image.open(data / row[f"mask_{organ}"])) > 127 for organ in ORGANS}
    if row["mask"].endswith(".png"):
        picture = np.asarray(Image.open(data / row["mask"])).astype(int)
        masks = {organ: np.zeros(picture.shape[:2], bool) for organ in ORGANS}
        for color, organs in PALETTE.items():
            hit = (picture == list(bytes.fromhex(color[1:]))).all(-1)
            for organ in organs:
                masks[organ] |= hit
        return masks
    table = {organ: read_runs(data / row["mask"], row["scan_id"], organ)[..., 0].T for organ in ORGANS}
    return table


def read_runs(path: Path, scan_id: str, organ: str) -> np.ndarray:
    """``(X, Y, Z)`` mask of one organ, decoded here from the columns alone."""
    rows = [row for row in read_table(path) if (row["scan_id"], row["organ"]) == (scan_id, organ)]
    first = rows[0]
    volume = np.zeros((int(first["depth"]), int(first["height"]) * int(first["width"])), bool)
    for row in rows:
        assert (row["order"], row["base"], row["axis"]) == ("row", "0", "z")
        numbers = [int(number) for number in row["rle"].split()]
        for start, length in zip(numbers[::2], numbers[1::2], strict=True):
            volume[int(row["slice"]), start : start + length] = True
    return volume.reshape(-1, int(first["height"]), int(first["width"])).transpose(2, 1, 0)


def is_good(row: dict[str, str]) -> bool:
    return int(row["scan_id"][2:]) <= COUNT


@pytest.mark.parametrize("study", ["demo_xray", "demo_mri"])
def test_same_seed_gives_same_bytes(study: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        make(study, tmp_path / f"{name}.csv", tmp_path / name / "data", seed=5, count=4, data_root=tmp_path / name)
    assert sha256_of(tmp_path / "one") == sha256_of(tmp_path / "two")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert all(row["image"].startswith("data/images/") for row in read_table(tmp_path / "one.csv"))


def test_another_seed_gives_other_scans(tmp_path: Path, xray: tuple[Path, Rows]) -> None:
    make("demo_xray", tmp_path / "m.csv", tmp_path / "data", seed=4, count=4)
    assert {row["image_sha256"] for row in read_table(tmp_path / "m.csv")}.isdisjoint(
        row["image_sha256"] for row in xray[1].values()
    )


@pytest.mark.parametrize("study", ["xray", "mri"])
def test_manifest_is_complete(study: str, request: pytest.FixtureRequest) -> None:
    data, rows = request.getfixturevalue(study)
    assert len(rows) == COUNT + 2
    sides: dict[str, set[str]] = {}
    for row in rows.values():
        assert sha256_of(data / row["image"]) == row["image_sha256"]
        if row["mask"]:
            assert sha256_of(data / row["mask"]) == row["mask_sha256"]
        else:
            assert all((data / row[f"mask_{organ}"]).is_file() for organ in ORGANS)
        sides.setdefault(row["patient_id"], set()).add(row["split"])
    assert all(len(parts) == 1 for parts in sides.values())
    assert set.union(*sides.values()) == {"test", "development"}
    scans = Counter(row["patient_id"] for row in rows.values())
    assert sorted(scans.values())[-2:] == [2, 2]


def test_default_counts() -> None:
    from pipeline.demo.cohort import cohort
    from pipeline.demo.study import COUNTS

    assert COUNTS == {"demo_xray": 30, "demo_mri": 20}
    for study, count in COUNTS.items():
        scans = cohort(study, 0, count, ("a", "b"))
        assert [scan.fault for scan in scans[count:]] == ["a", "b"]
        share = sum(scan.cells["split"] == "test" for scan in scans) / count
        assert 0.15 <= share <= 0.25


def test_organs_lie_where_they_should(xray: tuple[Path, Rows]) -> None:
    data, rows = xray
    for row in filter(is_good, rows.values()):
        masks = chest_masks(data, row)
        left, right, heart = (ndimage.center_of_mass(masks[organ]) for organ in ORGANS)
        columns = masks["heart"].shape[1]
        # The patient's left is at the right of the picture, and there the heart's point is.
        assert right[1] < 0.5 * columns + 25 < left[1] + 25
        assert right[1] < heart[1] < left[1]
        assert abs(heart[1] - right[1]) > abs(heart[1] - left[1])
        assert heart[0] > left[0]
        assert heart[0] > right[0]
        shared = (masks["heart"] & masks["left_lung"]).sum()
        assert 0.2 * masks["heart"].sum() < shared < 0.75 * masks["heart"].sum()
        assert shared > (masks["heart"] & masks["right_lung"]).sum()
        assert not (masks["left_lung"] & masks["right_lung"]).any()


def test_lungs_are_darker_than_the_heart(xray: tuple[Path, Rows]) -> None:
    data, rows = xray
    seen = Counter()
    for row in filter(is_good, rows.values()):
        path = data / row["image"]
        if path.suffix == ".png":
            grey = np.asarray(Image.open(path)).astype(float)
            seen["PNG", str(np.asarray(Image.open(path)).dtype)] += 1
        else:
            image = pydicom.dcmread(path)
            grey = image.pixel_array.astype(float)
            assert grey.max() < 2**image.BitsStored == 4096
            if image.PhotometricInterpretation == "MONOCHROME1":
                grey = 4095 - grey
                assert image.PresentationLUTShape == "INVERSE"
            seen[image.PhotometricInterpretation] += 1
        masks = chest_masks(data, row)
        assert masks["heart"].shape == grey.shape
        bare = (masks["left_lung"] | masks["right_lung"]) & ~masks["heart"]
        assert np.median(grey[bare]) < np.median(grey[masks["heart"]])
    assert {"MONOCHROME1", "MONOCHROME2", ("PNG", "uint8"), ("PNG", "uint16")} <= set(seen)


def test_radiographs_are_dx_objects(xray: tuple[Path, Rows]) -> None:
    data, rows = xray
    kinds = set()
    for row in filter(is_good, rows.values()):
        if not row["image"].endswith(".dcm"):
            continue
        image = pydicom.dcmread(data / row["image"])
        assert image.SOPClassUID.name == "Digital X-Ray Image Storage - For Presentation"
        assert image.Modality == "DX"
        assert image.PatientID.startswith("INVENTED")
        assert "Invented" in image.InstitutionName
        assert not set(image.StudyDate) - set("0123456789")
        for name in ("ViewCodeSequence", "AnatomicRegionSequence", "AcquisitionContextSequence", "DetectorType"):
            assert name in image
        at_detector = np.array(image.ImagerPixelSpacing, float)
        magnification = float(image.EstimatedRadiographicMagnificationFactor)
        assert 1.05 < magnification < 1.2
        kinds.add("PixelSpacing" in image)
        if "PixelSpacing" in image:
            assert np.allclose(np.array(image.PixelSpacing, float) * magnification, at_detector, atol=1e-4)
        # A chest is about as wide as a chest, in the millimetres that the file claims.
        masks = chest_masks(data, row)
        columns = np.flatnonzero((masks["left_lung"] | masks["right_lung"]).any(0))
        assert 210 < np.ptp(columns) * at_detector[1] / magnification < 350
    assert kinds == {True, False}


def test_planted_radiographs_are_bad(xray: tuple[Path, Rows]) -> None:
    data, rows = xray
    cut, other_size = (rows[f"dx{COUNT + i:03d}"] for i in (1, 2))
    with pytest.raises((ValueError, AttributeError)):
        _ = pydicom.dcmread(data / cut["image"]).pixel_array
    assert np.asarray(Image.open(data / other_size["mask_heart"])).shape == (128, 128)
    assert pydicom.dcmread(data / other_size["image"]).pixel_array.shape[0] == 256


def read_series(folder: Path) -> sitk.Image:
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    return sitk.ReadImage(list(names))


def itk_affine(image: sitk.Image) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1, 1, 1]) @ affine


def test_series_come_back_with_their_geometry(mri: tuple[Path, Rows]) -> None:
    data, rows = mri
    oblique = 0
    for row in filter(is_good, rows.values()):
        folder = data / row["image"]
        if not folder.is_dir():
            continue
        image = read_series(folder)
        mask = nib.load(data / row["mask"])
        ours, theirs = Grid(mask.shape, mask.affine), Grid(image.GetSize(), itk_affine(image))
        assert theirs.permuted(*to_canonical(theirs)).same_place(ours.permuted(*to_canonical(ours)))
        # The same place: the label volume, resampled onto the series, keeps every voxel.
        onto = sitk.Resample(sitk.ReadImage(str(data / row["mask"])), image, sitk.Transform(), sitk.sitkNearestNeighbor)
        values = sitk.GetArrayFromImage(onto)
        assert [(values == k).sum() for k in (1, 2, 3)] == [(np.asarray(mask.dataobj) == k).sum() for k in (1, 2, 3)]
        first = pydicom.dcmread(next(folder.iterdir()))
        oblique += bool((np.abs(np.array(first.ImageOrientationPatient, float)) > 0.02).sum() > 2)
        assert float(first.SliceThickness) < image.GetSpacing()[2]
    assert oblique >= 4


def test_files_are_not_in_slice_order(mri: tuple[Path, Rows]) -> None:
    data, rows = mri
    for row in filter(is_good, rows.values()):
        if (data / row["image"]).is_dir():
            images = [pydicom.dcmread(path) for path in sorted((data / row["image"]).iterdir())]
            heights = [float(image.ImagePositionPatient[2]) for image in images]
            assert heights != sorted(heights)
            assert [image.InstanceNumber for image in images] == list(range(1, len(images) + 1))


def test_volumes_and_labels_share_a_grid(mri: tuple[Path, Rows]) -> None:
    data, rows = mri
    orientations, scaled = set(), 0
    for row in filter(is_good, rows.values()):
        path = data / row["image"]
        if path.is_dir() or not row["mask"].endswith(".gz"):
            continue
        image, mask = nib.load(path), nib.load(data / row["mask"])
        assert Grid(image.shape, image.affine).same_place(Grid(mask.shape, mask.affine))
        orientations.add(Grid(image.shape, image.affine).orientation)
        scaled += image.dataobj.slope != 1
        assert set(np.unique(np.asarray(mask.dataobj))) <= {0, 1, 2, 3}
    assert len(orientations) >= 4
    assert scaled


def brain_masks(data: Path, row: dict[str, str]) -> tuple[list[np.ndarray], np.ndarray]:
    """``(X, Y, Z)`` masks of ventricles, cerebellum and tumour, and their affine."""
    if row["mask"].endswith(".gz"):
        mask = nib.load(data / row["mask"])
        return [np.asarray(mask.dataobj) == k for k in (1, 2, 3)], mask.affine
    affine = nib.load(data / row["image"]).affine
    return [read_runs(data / row["mask"], row["scan_id"], o) for o in ("ventricles", "cerebellum", "tumour")], affine


def test_brains_hold_their_organs(mri: tuple[Path, Rows]) -> None:
    data, rows = mri
    tumours = 0
    for row in filter(is_good, rows.values()):
        (ventricles, cerebellum, tumour), affine = brain_masks(data, row)
        litre = abs(np.linalg.det(affine[:3, :3])) / 1000
        assert 12 < ventricles.sum() * litre < 160
        assert 80 < cerebellum.sum() * litre < 280
        middle = [affine @ [*ndimage.center_of_mass(organ), 1] for organ in (ventricles, cerebellum)]
        assert middle[1][2] < middle[0][2] - 15
        assert middle[1][1] < middle[0][1] - 15
        assert abs(middle[0][0]) < 12
        tumours += bool(tumour.any())
    assert 0 < tumours < COUNT


def test_planted_volumes_are_bad(mri: tuple[Path, Rows]) -> None:
    data, rows = mri
    shifted, gap = (rows[f"mr{COUNT + i:03d}"] for i in (1, 2))
    image, mask = nib.load(data / shifted["image"]), nib.load(data / shifted["mask"])
    assert image.shape == mask.shape
    assert not Grid(image.shape, image.affine).same_place(Grid(mask.shape, mask.affine))
    images = [pydicom.dcmread(path) for path in (data / gap["image"]).iterdir()]
    normal = np.cross(*np.array(images[0].ImageOrientationPatient, float).reshape(2, 3))
    steps = np.diff(sorted(np.array(i.ImagePositionPatient, float) @ normal for i in images))
    assert np.isclose(steps.max(), 2 * np.median(steps), rtol=1e-3)


def test_visits_show_the_same_person(xray: tuple[Path, Rows]) -> None:
    data, rows = xray
    by_patient: dict[str, list[str]] = {}
    for row in filter(is_good, rows.values()):
        if row["image"].endswith(".dcm"):
            image = pydicom.dcmread(data / row["image"])
            by_patient.setdefault(row["patient_id"], []).append(f"{image.PatientID}|{image.PatientName}")
    assert all(len(set(names)) == 1 for names in by_patient.values())
    assert max(len(names) for names in by_patient.values()) == 2
    assert len({names[0] for names in by_patient.values()}) == len(by_patient)


def test_bad_calls_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no demo"):
        make("demo_ct", tmp_path / "m.csv", tmp_path / "data", 1)
    with pytest.raises(InputError, match="split"):
        make("demo_mri", tmp_path / "m.csv", tmp_path / "data", 1, count=3)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="did not make"):
        make("demo_mri", tmp_path / "m.csv", tmp_path / "data", 1, count=4)
    assert (tmp_path / "data" / "mine.txt").read_text() == "kept"


def test_path_through_an_ellipsoid_is_that_of_geometry() -> None:
    beam = Beam.aim((65, 65), 1.0, 1e4, 0.0, from_front=False, pose=turn(2, 30) @ turn(0, 20), shift=(0, 0, 0))
    scene = Scene(beam)
    ball = scene.ellipsoid((0, 0, 0), (20, 20, 20))
    rows, columns = np.indices(beam.shape) - 32
    expected = 2 * np.sqrt(np.maximum(400 - rows**2 - columns**2, 0))
    # The rays are not quite parallel: a few tenths of a millimetre at the rim.
    assert np.abs(ball.length - expected).max() < 0.5
    inner = scene.ellipsoid((0, 0, 0), (10, 10, 10))
    assert np.allclose(length_without(ball, [inner]), ball.length - inner.length, atol=0.01)
    assert np.allclose(union_length([ball, inner]), ball.length, atol=0.01)


def test_tube_keeps_its_volume() -> None:
    beam = Beam.aim((128, 128), 1.0, 1e6, 0.0, from_front=False, pose=np.eye(3), shift=(0, 0, 0))
    line = np.outer(np.linspace(-30, 30, 200), [1, 0, 0])
    path = Scene(beam).tube(line, 5.0)
    assert path.sum() == pytest.approx(np.pi * 25 * 60, rel=0.02)
    assert path[64, 64] == pytest.approx(10.0, rel=0.1)


def test_turned_patient_casts_a_turned_shadow() -> None:
    chest = Chest(np.random.default_rng(0))
    masks = []
    for angle in (-8.0, 8.0):
        beam = Beam.aim((128, 128), 3.2, 1800, 165, from_front=False, pose=turn(1, angle), shift=(0, 0, 0))
        masks.append(chest.expose(beam)[1])
    lungs = [m["left_lung"] | m["right_lung"] for m in masks]
    tops = [np.flatnonzero(m["left_lung"].any(1))[0] - np.flatnonzero(m["right_lung"].any(1))[0] for m in masks]
    assert np.sign(tops[0]) == -np.sign(tops[1])
    assert abs(int(lungs[0].sum()) - int(lungs[1].sum())) < 0.05 * lungs[0].sum()


def test_palette_refuses_overlaps_without_a_colour(tmp_path: Path) -> None:
    full = np.ones((4, 4), bool)
    with pytest.raises(ValueError, match="no colour"):
        write_palette_png(tmp_path / "p.png", dict.fromkeys(ORGANS, full))
    assert not (tmp_path / "p.png").exists()


def test_run_length_masks_read_back(xray: tuple[Path, Rows]) -> None:
    data, rows = xray
    in_table = [row for row in filter(is_good, rows.values()) if row["mask"].endswith(".csv")]
    assert len(in_table) == 3
    for row in in_table:
        masks = chest_masks(data, row)
        again = LabelMap.from_masks(
            {organ: mask.T[..., None] for organ, mask in masks.items()}, FRONTAL_AFFINE, ORGANS, overlapping=True
        )
        image = pydicom.dcmread(data / row["image"]) if row["image"].endswith(".dcm") else None
        assert image is None or again.data.shape == (image.Columns, image.Rows, 1)
