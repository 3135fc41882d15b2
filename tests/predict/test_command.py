"""``organseg predict`` without a study: scans in every form, a table, exit codes, and a quick start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipeline.cli.predict import predict_files
from pipeline.core.errors import InputError
from pipeline.core.files import read_table
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.formats.dicom.seg_writer import source_instances
from pipeline.formats.nifti.labels import stored_grid, write_nifti
from pipeline.formats.store import read_labels, read_scan

Made = tuple[Study, StudyPaths]


@pytest.fixture
def inputs(chosen_volumes: Made, tmp_path: Path) -> Path:
    """Scans s4 (NIfTI) and s6 (a DICOM series), and a file that is none."""
    _, paths = chosen_volumes
    folder = tmp_path / "inputs"
    scan = read_scan(paths.scan(0, "s4"))
    write_nifti(folder / "case four.nii.gz", scan.to_stored(scan.voxels[0]), stored_grid(scan).affine, "mm")
    (folder / "series").mkdir()
    for number, instance in enumerate(source_instances("x", read_scan(paths.scan(0, "s6")), "key")):
        instance.save_as(folder / "series" / f"{number}.dcm", enforce_file_format=True)
    return folder


def test_a_folder_of_scans(chosen_volumes: Made, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    _, paths = chosen_volumes
    out = tmp_path / "out"
    assert predict_files([inputs], str(paths.champion), out) == 0
    rows = read_table(out / "predictions.csv")
    assert [(r["scan_id"], r["organ"]) for r in rows] == [
        ("case-four", "left"), ("case-four", "right"), ("scan", "left"), ("scan", "right"),
    ]  # fmt: skip
    assert {row["unit"] for row in rows} == {"mL"}
    assert "case-four" in capsys.readouterr().out
    scan = read_scan(paths.scan(0, "s4"))
    image = nib.load(out / "nifti" / "case-four.nii.gz")
    assert scan.stored is not None
    assert image.shape == scan.stored.shape
    expected = read_labels(paths.predictions("test", "champion") / "s4.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), scan.to_stored(expected.data))
    assert Image.open(out / "overlays" / "case-four.png").size[0] > 100


def test_failures_are_rows(chosen_volumes: Made, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    _, paths = chosen_volumes
    (inputs / "broken.nii.gz").write_bytes((inputs / "case four.nii.gz").read_bytes()[:2000])
    picture = tmp_path / "picture.png"
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(picture)
    code = predict_files([inputs, picture], str(paths.champion), tmp_path / "out", as_json=True)
    assert code == 3
    said = json.loads(capsys.readouterr().out)
    status = {scan["scan_id"]: scan["status"] for scan in said["scans"]}
    assert status == {"broken": "failed", "case-four": "ok", "scan": "ok", "picture": "failed"}
    rows = read_table(tmp_path / "out" / "predictions.csv")
    assert {r["scan_id"] for r in rows if r["status"] == "failed"} == {"broken", "picture"}
    assert str(tmp_path) not in (tmp_path / "out" / "predictions.csv").read_text()


def test_a_manifest(chosen_volumes: Made, inputs: Path, tmp_path: Path) -> None:
    _, paths = chosen_volumes
    manifest = inputs / "list.csv"
    manifest.write_text("scan_id,patient_id,image\nfirst,p,case four.nii.gz\nsecond,q,series\nthird,r,absent.nii.gz\n")
    assert predict_files([manifest], str(paths.champion), tmp_path / "out", probabilities=True) == 3
    rows = read_table(tmp_path / "out" / "predictions.csv")
    assert [(r["scan_id"], r["status"]) for r in rows] == [
        ("first", "ok"), ("first", "ok"), ("second", "ok"), ("second", "ok"), ("third", "failed"),
    ]  # fmt: skip
    probabilities = nib.load(tmp_path / "out" / "probabilities" / "first.nii.gz")
    assert probabilities.shape[3] == 3
    np.testing.assert_allclose(np.asarray(probabilities.dataobj).sum(-1), 1, atol=1e-3)


def test_probabilities_are_a_form_too(chosen_volumes: Made, inputs: Path, tmp_path: Path) -> None:
    _, paths = chosen_volumes
    scan = inputs / "case four.nii.gz"
    assert predict_files([scan], str(paths.champion), tmp_path / "out", formats=["probabilities"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"probabilities", "predictions.csv"}
    assert not (tmp_path / "out" / "nifti").exists()


def test_wrong_probabilities_fail_the_scan(
    chosen_volumes: Made, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.formats.nifti import labels as nifti_labels

    write = nifti_labels.write_nifti

    def moved(path: Path, data: np.ndarray, affine: np.ndarray, unit: str) -> None:
        write(path, np.roll(data, 1, axis=0) if data.ndim == 4 else data, affine, unit)  # type: ignore[arg-type]

    monkeypatch.setattr(nifti_labels, "write_nifti", moved)
    _, paths = chosen_volumes
    assert predict_files([inputs / "case four.nii.gz"], str(paths.champion), tmp_path / "out", probabilities=True) == 3
    rows = read_table(tmp_path / "out" / "predictions.csv")
    assert "probabilities of channel" in rows[0]["findings"]


def test_one_trained_fold(chosen_volumes: Made, inputs: Path, tmp_path: Path) -> None:
    _, paths = chosen_volumes
    assert predict_files([inputs], str(paths.model("unet", 1)), tmp_path / "out") == 0


def test_bad_calls(chosen_volumes: Made, tmp_path: Path) -> None:
    _, paths = chosen_volumes
    with pytest.raises(InputError, match="no trained model"):
        predict_files([tmp_path], str(tmp_path), tmp_path / "out")
    with pytest.raises(InputError, match="does not exist"):
        predict_files([tmp_path / "absent.png"], str(paths.champion), tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no scan"):
        predict_files([tmp_path / "empty"], str(paths.champion), tmp_path / "out")


def test_no_torch_is_imported(chosen_volumes: Made, inputs: Path, tmp_path: Path) -> None:
    _, paths = chosen_volumes
    code = (
        "import sys; from pathlib import Path; from pipeline.cli.predict import predict_files\n"
        f"code = predict_files([Path({str(inputs)!r})], {str(paths.champion)!r}, Path({str(tmp_path / 'out')!r}))\n"
        "heavy = {'torch', 'monai', 'pandas', 'SimpleITK', 'highdicom', 'skimage', 'mlflow'} & set(sys.modules)\n"
        "print(heavy); sys.exit(9 if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"formats": ["nifti", "foo"]}, "foo: no such form"),
        ({"formats": ["rle"]}, "rle: no such form"),
        ({"backend": "anything"}, "no backend 'anything'"),
    ],
)
def test_unknown_forms_and_backends_are_bad_calls(
    chosen_volumes: Made, inputs: Path, tmp_path: Path, changes: dict, message: str
) -> None:
    _, paths = chosen_volumes
    with pytest.raises(InputError, match=message):
        predict_files([inputs], str(paths.champion), tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


def test_what_a_folder_holds_and_cannot_be_read_is_a_row(chosen_volumes: Made, inputs: Path, tmp_path: Path) -> None:
    _, paths = chosen_volumes
    (inputs / "series" / "8.dcm").unlink()
    (inputs / "gone.png").symlink_to(inputs / "nowhere.png")
    (inputs / "notes.txt").write_text("not an image")
    assert predict_files([inputs], str(paths.champion), tmp_path / "out") == 3
    rows = read_table(tmp_path / "out" / "predictions.csv")
    failed = {row["scan_id"]: row["findings"] for row in rows if row["status"] == "failed"}
    assert set(failed.values()) == {"the file does not exist", "1 slice is missing (after slice 8 of 17)"}
    assert {row["scan_id"] for row in rows if row["status"] == "ok"} == {"case-four"}


def test_an_unforeseen_error_is_a_row(
    chosen_volumes: Made, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.inference.predictor import Predictor

    prepare = Predictor.prepare

    def odd(self: Predictor, scan: object) -> object:
        if len(calls) == 1:
            raise KeyError("odd")
        return prepare(self, scan)  # type: ignore[arg-type]

    calls: list[object] = []
    monkeypatch.setattr(Predictor, "prepare", lambda self, scan: (calls.append(scan), odd(self, scan))[1])
    _, paths = chosen_volumes
    assert predict_files([inputs], str(paths.champion), tmp_path / "out") == 3
    status = {row["scan_id"]: row["status"] for row in read_table(tmp_path / "out" / "predictions.csv")}
    assert status == {"case-four": "failed", "scan": "ok"}


@pytest.mark.parametrize(("gib", "code"), [(1e-5, 3), (4.0, 0)])
def test_a_scan_may_take_the_memory_that_is_there(
    chosen_volumes: Made, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gib: float, code: int
) -> None:
    from pipeline.core import limits as module

    monkeypatch.setattr(module, "LEAST_GIB", 1e-6)
    monkeypatch.setattr(module, "memory_bytes", lambda: int(gib * 2**30) + 1)
    _, paths = chosen_volumes
    assert predict_files([inputs / "case four.nii.gz"], str(paths.champion), tmp_path / "out") == code


def test_every_file_of_a_folder_is_accounted_for(
    chosen_volumes: Made, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Empty and cut files are failed rows; what is no image, a pipe among them, is named with its reason."""
    import os

    _, paths = chosen_volumes
    whole = (inputs / "case four.nii.gz").read_bytes()
    (inputs / "empty.nii.gz").write_bytes(b"")
    (inputs / "cut.nii.gz").write_bytes(whole[:40])
    (inputs / "notes.txt").write_text("not an image")
    os.mkfifo(inputs / "pipe.nii.gz")
    assert predict_files([inputs], str(paths.champion), tmp_path / "out") == 3
    rows = read_table(tmp_path / "out" / "predictions.csv")
    assert {row["scan_id"] for row in rows if row["status"] == "failed"} == {"empty", "cut"}
    said = capsys.readouterr().out
    assert f"passed over: {inputs / 'notes.txt'}: is a text file, not an image" in said
    assert f"passed over: {inputs / 'pipe.nii.gz'}: is a pipe, not a file" in said


@pytest.mark.parametrize("what", ["nan", "infinite", "constant", "overflow by its slope"])
def test_voxels_that_ingest_refuses_are_refused(chosen_volumes: Made, inputs: Path, tmp_path: Path, what: str) -> None:
    _, paths = chosen_volumes
    image = nib.load(inputs / "case four.nii.gz")
    data = np.asarray(image.dataobj).astype(np.float32)
    if what == "constant":
        data[:] = 7
    elif what == "overflow by its slope":
        data = data.astype(np.int16)
    else:
        data[3, 3, 3] = np.nan if what == "nan" else np.inf
    changed = nib.Nifti1Image(data, image.affine)
    if what == "overflow by its slope":
        changed.header.set_slope_inter(3e38, 0)
    path = tmp_path / "changed.nii.gz"
    nib.save(changed, path)
    assert predict_files([path], str(paths.champion), tmp_path / "out") == 3
    (row,) = read_table(tmp_path / "out" / "predictions.csv")
    assert ("everywhere" if what == "constant" else "NaN or infinite") in row["findings"]


def test_what_a_header_leaves_open_is_said_and_what_it_cannot_mean_refused(
    chosen_volumes: Made, inputs: Path, tmp_path: Path
) -> None:
    _, paths = chosen_volumes
    image = nib.load(inputs / "case four.nii.gz")
    voxels = np.asarray(image.dataobj)
    unit = nib.Nifti1Image(voxels, np.eye(4))
    unit.set_sform(np.eye(4), 1)
    unit.header["pixdim"][1:4], unit.header["qform_code"] = (0.866, 0.866, 0.796), 0
    nib.save(unit, tmp_path / "unit.nii.gz")
    nib.save(nib.Nifti1Image(voxels, np.diag([30.0, 30.0, 80.0, 1.0])), tmp_path / "huge.nii.gz")
    code = predict_files([tmp_path / "unit.nii.gz", tmp_path / "huge.nii.gz"], str(paths.champion), tmp_path / "out")
    assert code == 3
    found = {row["scan_id"]: row for row in reversed(read_table(tmp_path / "out" / "predictions.csv"))}
    assert "1 × 1 × 1 mm by its sform and 0.866 × 0.866 × 0.796 mm" in found["unit"]["findings"]
    assert found["huge"]["status"] == "failed"
    assert "larger than any patient" in found["huge"]["findings"]


def test_a_model_of_pictures_segments_the_slices_of_a_volume(chosen_pictures: Made, tmp_path: Path) -> None:
    _, paths = chosen_pictures
    names = ["s4", "s6"]
    pictures = [read_scan(paths.scan(0, name)) for name in names]
    # As the slices of an axial volume in RAS+ order, of which these pictures would have been made.
    volume = np.stack([picture.voxels[0, ::-1, ::-1, 0] for picture in pictures], axis=2)
    write_nifti(tmp_path / "volume.nii.gz", volume, np.diag([1.0, 1, 3, 1]), "mm")
    assert predict_files([tmp_path / "volume.nii.gz"], str(paths.champion), tmp_path / "out") == 0
    for organ in ("left", "right"):
        found = np.asarray(nib.load(tmp_path / "out" / "nifti" / "volume" / f"{organ}.nii.gz").dataobj)
        assert found.any()
        for index, name in enumerate(names):
            expected = read_labels(paths.predictions("test", "champion") / f"{name}.nii.gz").mask(organ)
            np.testing.assert_array_equal(found[..., index], expected[::-1, ::-1, 0])
    rows = read_table(tmp_path / "out" / "predictions.csv")
    assert "its axial slices were segmented one by one" in rows[0]["findings"]
    assert {row["verdict"] for row in rows} == {"look"}
    assert {row["unit"] for row in rows} == {"mL"}
