"""The form ``probabilities``: kept by predict, exported in the grid of the scan's file, and read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from pipeline import export, predict
from pipeline.core.errors import InputError
from pipeline.core.files import read_table
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.export.probabilities import check_probabilities
from pipeline.formats.nifti.labels import write_probabilities
from pipeline.formats.pictures.borders import crop_borders
from pipeline.formats.store import read_labels, read_scan
from pipeline.inference.postprocessing import OrganSteps
from tests.export.test_borders import SIZE, bordered, framed
from tests.predict.studies import ORGANS, phantom

Make = Callable[..., tuple[Study, StudyPaths]]


def maps_of(labels: LabelMap, seed: int = 0) -> np.ndarray:
    """Probabilities that lead to these organs."""
    noise = np.random.default_rng(seed).random((len(ORGANS), *labels.data.shape)).astype(np.float32)
    own = np.where(labels.masks(), 0.6 + 0.4 * noise, 0.3 * noise).astype(np.float32)
    if labels.overlapping:
        return own
    both = np.concatenate([1 - labels.masks().any(0, keepdims=True) + np.float32(0.01), own])
    return (both / both.sum(0)).astype(np.float32)


@pytest.fixture(params=[False, True], ids=["volume", "picture"])
def kept(request: pytest.FixtureRequest, predicted: Make) -> tuple[Study, StudyPaths]:
    """A study after ``predict``, which kept the champion's probabilities."""
    study, paths = predicted(flat=request.param, formats=["nifti", "probabilities"])
    for name in ("s4", "s5", "s6"):
        path = paths.predictions("test", "champion")
        scan = read_scan(paths.scan(int(name[1:]) % 2, name))
        maps = maps_of(read_labels(path / f"{name}.nii.gz"))
        write_probabilities(path / "probabilities" / f"{name}.nii.gz", scan, maps, overlapping=study.overlapping)
    return study, paths


def failed(paths: StudyPaths) -> dict[tuple[str, str], str]:
    rows = read_table(paths.exports / "checks.csv")
    return {(row["scan_id"], row["format"]): row["reason"] for row in rows if row["status"] == "failed"}


def test_they_lie_in_the_grid_of_the_file(kept: tuple[Study, StudyPaths]) -> None:
    study, paths = kept
    for _ in ("once", "again, over its own links"):
        export.run(study, paths)
        assert failed(paths) == {}
    image = nib.load(paths.exports / "probabilities" / "s4.nii.gz")
    mask = sorted((paths.exports / "nifti").rglob("s4*"))[0]
    other = nib.load(mask if mask.is_file() else mask / "left.nii.gz")
    assert image.shape == (*other.shape, len(ORGANS) + (not study.overlapping))
    assert image.get_data_dtype() == np.float32
    np.testing.assert_allclose(image.affine, other.affine)
    itk = SimpleITK.ReadImage(str(paths.exports / "probabilities" / "s4.nii.gz"))
    assert itk.GetSize()[:3] == other.shape
    if not study.overlapping:
        values = np.asarray(image.dataobj)
        np.testing.assert_allclose(values.sum(-1), 1, atol=1e-5)
        np.testing.assert_array_equal(values.argmax(-1), np.asarray(other.dataobj))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("shifted", "away"),
        ("mirrored", "away"),
        ("swapped", "away"),
        ("lacking", "absent|add up"),
        ("spacing", "off the scan|does not cover"),
        ("sum", "add up"),
        ("range", "something else"),
    ],
)
def test_planted_faults(kept: tuple[Study, StudyPaths], fault: str, message: str) -> None:
    study, paths = kept
    path = paths.predictions("test", "champion") / "probabilities" / "s5.nii.gz"
    image = nib.load(path)
    data, affine = np.asarray(image.dataobj), image.affine
    first = 0 if study.overlapping else 1
    if fault == "sum" and study.overlapping:
        pytest.skip("organs that overlap have no sum")
    if fault == "shifted":
        data = np.roll(data, 1, axis=0)
    elif fault == "mirrored":
        data = data[::-1]
    elif fault == "swapped":
        data = np.concatenate([data[..., :first], data[..., first:][..., ::-1]], -1)
    elif fault == "lacking":
        data = data.copy()
        data[..., -1] = 0
    elif fault == "spacing":
        affine = affine @ np.diag([1.1, 1, 1, 1])
    else:
        data = data * (0.9 if fault == "sum" else 1.5)
    nib.save(nib.Nifti1Image(np.ascontiguousarray(data, np.float32), affine), path)
    said: list[str] = []
    export.run(study, paths, say=said.append)
    wrong = failed(paths)
    assert set(wrong) == {("s5", "probabilities")}
    import re

    assert re.search(message, wrong["s5", "probabilities"])
    assert any(line.startswith("s5, probabilities:") for line in said)
    assert {p.name for p in (paths.exports / "failed" / "probabilities").iterdir()} == {"s5.nii.gz"}
    assert {p.name for p in (paths.exports / "probabilities").iterdir()} == {"s4.nii.gz", "s6.nii.gz"}


def test_what_predict_did_not_keep_is_said(predicted: Make) -> None:
    study, paths = predicted(formats=["nifti", "probabilities"])
    export.run(study, paths)
    assert {form for _, form in failed(paths)} == {"probabilities"}
    assert all("kept no probabilities" in reason for reason in failed(paths).values())


def test_thresholds_and_clean_up_are_applied(tmp_path: Path) -> None:
    scan, masks = phantom(1)
    labels = LabelMap.from_masks(masks, scan.affine, ORGANS, overlapping=False)
    maps = maps_of(labels)
    maps[2][0, 0, 0], maps[0][0, 0, 0], maps[1][0, 0, 0] = 0.9, 0.1, 0.0  # a speck
    path = tmp_path / "a.nii.gz"
    write_probabilities(path, scan, maps, overlapping=False)
    steps = {"right": OrganSteps(largest_component=True)}
    rows = check_probabilities(path, "a", scan, labels, steps, maps)
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["status"] for row in check_probabilities(path, "a", scan, labels, {})} == {"ok", "failed"}
    # No voxel of the right organ is as likely as that.
    steps = {"right": OrganSteps(threshold=0.999)}
    rows = check_probabilities(path, "a", scan, labels, steps)
    assert [row["status"] for row in rows if row["organ"] == "right"] == ["failed"]
    with pytest.raises(InputError, match="channel 1 are other"):
        check_probabilities(path, "a", scan, labels, {}, np.stack([maps[0], maps[1] / 2, maps[2]]))


@pytest.mark.parametrize("overlapping", [False, True])
def test_borders_that_were_cut_off_are_background(tmp_path: Path, overlapping: bool) -> None:
    scan, masks = phantom(2, flat=True)
    cut = crop_borders(bordered(scan))
    labels = LabelMap.from_masks(masks, cut.affine, ORGANS, overlapping=overlapping)
    maps = maps_of(labels)
    write_probabilities(tmp_path / "a.nii.gz", cut, maps, overlapping=overlapping)
    rows = check_probabilities(tmp_path / "a.nii.gz", "a", cut, labels, {}, maps)
    assert {row["status"] for row in rows} == {"ok"}
    values = np.moveaxis(np.asarray(nib.load(tmp_path / "a.nii.gz").dataobj), -1, 0)
    assert values.shape[1:] == (*SIZE, 1)
    for number, one in enumerate(values):
        np.testing.assert_array_equal(one, framed(maps[number], 0 if overlapping or number else 1))


def test_a_form_that_is_not_asked_for_takes_no_disk(kept: tuple[Study, StudyPaths]) -> None:
    study, paths = kept
    plain = study.model_copy(update={"export": study.export.model_copy(update={"formats": ["nifti"]})})
    export.run(plain, paths)
    assert not (paths.exports / "probabilities").exists()
    out = paths.predictions("test", "champion")
    predict._drop_others(out, {"s4", "s5"}, wanted=True)
    assert {p.name for p in (out / "probabilities").iterdir()} == {"s4.nii.gz", "s5.nii.gz"}
    predict._drop_others(out, {"s4", "s5"}, wanted=False)
    assert list((out / "probabilities").iterdir()) == []
