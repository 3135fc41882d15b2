"""What ``organseg predict`` finds doubtful comes back corrected: predict, correct, ``manifest add``, ingest."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline import select
from pipeline.cli.manifest import add
from pipeline.cli.predict import predict_files
from pipeline.core.files import read_table, write_json, write_table, write_yaml
from pipeline.core.manifest import manifest_path
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.formats.nifti.labels import stored_grid, write_nifti
from pipeline.formats.store import read_scan
from pipeline.inference.champion import FILE, QUALITY, read_champion
from tests.predict.studies import ORGANS, make_study
from tests.predict.test_corrections import ingested

VALUES = {"left": 3, "right": 7}


@pytest.fixture
def valued(chosen_volumes: tuple[Study, StudyPaths]) -> StudyPaths:
    """A study whose organs have values of their own, after ``select``."""
    _, paths = chosen_volumes
    mirrors = {"left": "right", "right": "left"}
    organs = {organ: {"mirror": mirrors[organ], "value": VALUES[organ]} for organ in ORGANS}
    select.run(make_study(split={"folds": 2}, organs=organs), paths)
    return paths


def test_the_champion_knows_the_values_of_its_organs(valued: StudyPaths) -> None:
    assert read_champion(valued.champion).values == VALUES


def test_doubtful_scans_come_back_corrected(
    valued: StudyPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a usual scan, an unusual one and a broken one, the unusual one alone is put aside."""
    place, folder, out = tmp_path / "place", tmp_path / "inputs", tmp_path / "out"
    scan = read_scan(valued.scan(0, "s4"))
    grid, voxels = stored_grid(scan), scan.to_stored(scan.voxels[0])
    write_nifti(folder / "usual.nii.gz", voxels, grid.affine, "mm")
    write_nifti(folder / "wide.nii.gz", voxels, grid.affine @ np.diag([1.5, 1.5, 1.5, 1]), "mm")
    (folder / "broken.nii.gz").write_bytes((folder / "usual.nii.gz").read_bytes()[:900])
    extent = float(np.log(np.array(scan.shape) * scan.spacing).mean())
    organ = {"intervals": {}, "present": 0.0}
    reference = {
        "scan": {"log_extent": {"middle": extent, "half": 0.3}},
        "coarse": [0.0] * 512,
        "sides": [0.0] * 512,
        "organs": dict.fromkeys(ORGANS, organ),
    }
    write_json(valued.champion / QUALITY, reference)
    read_champion(valued.champion).sealed(valued.champion).write(valued.champion / FILE)
    assert predict_files([folder], str(valued.champion), out) == 3

    verdicts = {row["scan_id"]: row["verdict"] for row in read_table(out / "predictions.csv")}
    assert verdicts == {"broken": "fail", "usual": "good", "wide": "look"}
    correction = out / "correction"
    assert [path.name for path in (correction / "images").iterdir()] == ["wide.nii.gz"]
    assert [path.name for path in (correction / "masks").iterdir()] == ["wide.nii.gz"]
    todo = read_table(correction / "todo.csv")
    assert [(row["scan_id"], row["organ"], row["verdict"]) for row in todo] == [
        ("wide", "left", "look"), ("wide", "right", "look"),
    ]  # fmt: skip
    assert all("field of view" in row["findings"] for row in todo)

    corrected = _correct(correction / "masks" / "wide.nii.gz")
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.delenv("ORGANSEG_DATA", raising=False)
    write_yaml(Path("configs/knee.yaml"), {"modality": "mri", "organs": {o: {"value": v} for o, v in VALUES.items()}})
    write_nifti(Path("data/a.nii.gz"), voxels, grid.affine, "mm")
    row = {"scan_id": "a", "patient_id": "p", "image": "a.nii.gz", "mask": ""}
    write_table(manifest_path("knee"), [row], list(row))
    add(study="knee", masks=correction)
    labels = ingested("knee", "wide")
    for organ, mask in corrected.items():
        assert mask.any()
        stored = nib.Nifti1Image(mask.astype(np.uint8), nib.load(correction / "masks" / "wide.nii.gz").affine)
        canonical = np.asarray(nib.as_closest_canonical(stored).dataobj, bool)
        np.testing.assert_array_equal(labels.mask(organ), canonical)


def _correct(path: Path) -> dict[str, np.ndarray]:
    """What a person does with a mask: move an organ's border; the organs as they are then."""
    image = nib.load(path)
    data = np.array(image.dataobj)
    assert set(np.unique(data)) == {0, *VALUES.values()}
    data[(np.roll(data, 1, axis=1) == VALUES["left"]) & (data == 0)] = VALUES["left"]
    nib.save(nib.Nifti1Image(data, image.affine, image.header), path)
    return {organ: data == value for organ, value in VALUES.items()}
