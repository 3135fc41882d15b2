"""A champion reads scans as its study did: what the networks see is what they were evaluated on."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from pipeline import select
from pipeline.cli.predict import predict_files
from pipeline.core.errors import InputError
from pipeline.core.files import read_table, read_yaml, write_yaml
from pipeline.core.paths import StudyPaths
from pipeline.core.scan import Scan
from pipeline.core.study import Ingest, Study
from pipeline.formats.dicom.seg_writer import source_instances
from pipeline.inference.champion import FILE, Reading, read_champion
from pipeline.predict.inputs import find_inputs
from pipeline.predict.model import open_model
from tests.export.test_borders import SIZE, bordered, framed
from tests.predict.studies import make_study, phantom

Made = tuple[Study, StudyPaths]
FORMS = ("nifti", "overlays", "spotlight", "dicom_seg")


def grey(number: int = 4) -> Scan:
    """The phantom in whole greys above 0, as files of radiographs have them."""
    from dataclasses import replace

    scan, _ = phantom(number, flat=True)
    return replace(scan, voxels=np.rint((scan.voxels + 150) * 100).astype(np.uint16))


def write_png(path: Path, scan: Scan) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(scan.voxels[0, ..., 0].T)).save(path, "PNG")
    return path


def write_dicom(path: Path, scan: Scan) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    source_instances("x", scan, "key")[0].save_as(path, enforce_file_format=True)
    return path


def read_as(paths: StudyPaths, **ingest: object) -> str:
    """The champion's folder, with other words on how its scans were read."""
    content = read_yaml(paths.champion / FILE)
    write_yaml(paths.champion / FILE, {**content, "ingest": {**content["ingest"], **ingest}})
    return str(paths.champion)


def masks_of(folder: Path) -> dict[str, np.ndarray]:
    return {
        path.name.removesuffix(".nii.gz"): np.asarray(nib.load(path).dataobj) > 0 for path in folder.glob("*.nii.gz")
    }


@pytest.mark.parametrize("write", [write_png, write_dicom])
def test_borders_are_cut_off_and_come_back(chosen_pictures: Made, tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    _, paths = chosen_pictures
    plain = write(tmp_path / "plain" / "scan", grey())
    assert predict_files([plain], str(paths.champion), tmp_path / "a", formats=FORMS) == 0
    wide = write(tmp_path / "wide" / "scan", bordered(grey(), 0))
    model = read_as(paths, crop_borders=True)
    assert predict_files([wide], model, tmp_path / "b", formats=FORMS, probabilities=True) == 0
    expected, found = masks_of(tmp_path / "a" / "nifti" / "scan"), masks_of(tmp_path / "b" / "nifti" / "scan")
    assert any(mask.any() for mask in expected.values())
    for organ, mask in expected.items():
        np.testing.assert_array_equal(found[organ], framed(mask))
    rows = read_table(tmp_path / "b" / "predictions.csv")
    assert [row["status"] for row in rows] == ["ok", "ok"]
    probabilities = nib.load(tmp_path / "b" / "probabilities" / "scan.nii.gz")
    assert probabilities.shape == (*SIZE, 1, 2)
    picture = Image.open(tmp_path / "b" / "spotlight" / "scan.png")
    spacing = (1, 1) if write is write_png else (0.5, 0.7)
    assert picture.width / picture.height == pytest.approx(SIZE[0] * spacing[0] / (SIZE[1] * spacing[1]), abs=0.01)
    assert (tmp_path / "b" / "dicom_seg" / "scan" / "seg.dcm").is_file()


def test_the_mask_lies_over_the_file_itself(chosen_pictures: Made, tmp_path: Path) -> None:
    """By SimpleITK alone: size of mask and radiograph, and the bright organ under its mask."""
    _, paths = chosen_pictures
    wide = write_dicom(tmp_path / "wide" / "scan.dcm", bordered(grey(), 0))
    assert predict_files([wide], read_as(paths, crop_borders=True), tmp_path / "out") == 0
    image = SimpleITK.ReadImage(str(wide))
    mask = SimpleITK.ReadImage(str(tmp_path / "out" / "nifti" / "scan" / "left.nii.gz"))
    assert image.GetSize() == mask.GetSize()
    values = SimpleITK.GetArrayFromImage(image)
    inside = SimpleITK.GetArrayFromImage(mask) > 0
    assert values[inside].mean() > np.percentile(values, 90)


def test_a_grey_window_is_applied(tmp_path: Path) -> None:
    scan = grey()
    write_dicom(tmp_path / "scan.dcm", scan)
    (plain,) = find_inputs([tmp_path], "xray")
    (shown,) = find_inputs([tmp_path], "xray", Reading(window=(15000, 10000)))
    assert plain.read().voxels.max() > 1000
    values = shown.read().voxels
    np.testing.assert_allclose(values, np.clip((scan.voxels - 10000.0) / 10000, 0, 1), atol=1e-6)


def test_the_champion_says_how_its_scans_were_read(pictures: Made) -> None:
    from pipeline import predict

    study, paths = pictures
    ingest = {"crop_borders": True, "window": [2000, 4000], "channels": ["film"], "seconds": 7}
    study = Study.model_validate({**study.model_dump(), "ingest": ingest})
    for model in study.models:
        predict.run(study, paths, "oof", model)
    select.run(study, paths)
    champion = read_champion(paths.champion)
    assert champion.ingest == Reading(channels=["film"], window=(2000, 4000), crop_borders=True)
    options = champion.ingest.options(memory_gib=9)
    assert options == Ingest(channels=["film"], window=(2000, 4000), crop_borders=True, memory_gib=9)


def test_an_older_champion_reads_as_is_usual(chosen_pictures: Made) -> None:
    _, paths = chosen_pictures
    content = read_yaml(paths.champion / FILE)
    del content["ingest"]
    write_yaml(paths.champion / FILE, content)
    assert read_champion(paths.champion).ingest.options() == Ingest()


def test_a_fold_knows_how_its_scans_were_read(pictures: Made) -> None:
    from pipeline.core.files import read_json, write_json

    _, paths = pictures
    folder = paths.model("unet", 0)
    assert open_model(folder, threads=1).champion.ingest == Reading()
    content = read_json(folder / "model.json")
    content["facts"]["ingest"] = {"crop_borders": True}
    write_json(folder / "model.json", content)
    assert open_model(folder, threads=1).champion.ingest == Reading(crop_borders=True)


def test_a_study_that_applies_a_model_reads_as_it_does(chosen_pictures: Made, tmp_path: Path) -> None:
    _, paths = chosen_pictures
    model = read_as(paths, window="voi")
    applied = StudyPaths("applied", tmp_path / "applied")
    changes = {"modality": "xray", "overlapping": True, "model": model}
    with pytest.raises(InputError, match="window: voi"):
        select.run(make_study(**changes), applied)
    select.run(make_study(**changes, ingest={"window": "voi"}), applied)
    assert read_champion(applied.champion).ingest.window == "voi"


def test_the_served_model_reads_so_too(chosen_pictures: Made, tmp_path: Path) -> None:
    """Its answer has the size of the picture that was sent."""
    from types import SimpleNamespace

    from pipeline.formats.rle.codec import decode
    from pipeline.tracking.serve import Segmenter

    _, paths = chosen_pictures
    wide = write_png(tmp_path / "film.png", bordered(grey(), 0))
    model = read_as(paths, crop_borders=True)
    assert predict_files([wide], model, tmp_path / "out", formats=["nifti"]) == 0
    served = Segmenter()
    served.load_context(SimpleNamespace(artifacts={"champion": model}))
    table = served.predict(None, [{"image": wide.read_bytes()}])
    assert set(table["shape"]) == {"45×48×1"}
    expected = masks_of(tmp_path / "out" / "nifti" / "film")
    for organ, runs in zip(table["organ"], table["runs"], strict=True):
        np.testing.assert_array_equal(decode(runs, SIZE[1], SIZE[0]), expected[organ][..., 0].T)
