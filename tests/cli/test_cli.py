"""The command line as a newcomer meets it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

STAGES = ["ingest", "rle", "plan", "preprocess", "train", "predict", "evaluate", "select", "export", "report"]


def organseg(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "configs").mkdir()
    (tmp_path / "data_manifests").mkdir()
    (tmp_path / "configs" / "knee.yaml").write_text("modality: mri\norgans: [bone, cartilage]\n")
    (tmp_path / "data_manifests" / "knee.csv").write_text("scan_id,patient_id,image\na,p,a.nii.gz\n")
    return tmp_path


def test_help_names_every_stage(tmp_path: Path) -> None:
    done = organseg("--help", cwd=tmp_path)
    assert done.returncode == 0
    for stage in STAGES:
        assert f"\n  {stage} " in done.stdout, stage


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_explains_itself(tmp_path: Path, stage: str) -> None:
    done = organseg(stage, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "--study" in done.stdout or stage == "rle"


@pytest.mark.parametrize("stage", ["ingest", "plan", "preprocess", "train", "predict", "select", "export", "report"])
def test_an_absent_study_is_bad_input_without_a_traceback(place: Path, stage: str) -> None:
    done = organseg(stage, "--study", "kneee", cwd=place)
    assert done.returncode == 2
    assert "Did you mean 'knee'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_key_comes_with_the_right_one(place: Path) -> None:
    (place / "configs" / "knee.yaml").write_text("modality: mri\norgans: [bone]\nbuget: {steps: 3}\n")
    done = organseg("plan", "--study", "knee", cwd=place)
    assert done.returncode == 2
    assert "did you mean 'budget'?" in done.stderr
    assert str(Path("configs/knee.yaml")) in done.stderr


def test_an_unknown_model_comes_with_the_right_one(place: Path) -> None:
    done = organseg("train", "--study", "knee", "--model", "umet", cwd=place)
    assert done.returncode == 2
    assert "Did you mean 'unet'?" in done.stderr


def test_schema_is_json_schema_with_descriptions(tmp_path: Path) -> None:
    schema = json.loads(organseg("schema", cwd=tmp_path).stdout)
    assert schema["additionalProperties"] is False
    assert {"modality", "organs", "models"} <= schema["properties"].keys()

    def fields(part: object) -> list[tuple[str, dict]]:
        return list(part.get("properties", {}).items()) if isinstance(part, dict) else []

    for section in (schema, *schema["$defs"].values()):
        for name, field in fields(section):
            assert field.get("description") or "$ref" in field, name


def test_manifest_check_lists_what_is_absent(place: Path) -> None:
    (place / "data").mkdir()
    done = organseg("manifest", "check", "--study", "knee", cwd=place, ORGANSEG_DATA="data")
    assert done.returncode == 3
    assert "line 2: a: data/a.nii.gz does not exist" in done.stdout


def test_manifest_pseudonymise_is_keyed_and_repeatable(place: Path) -> None:
    arguments = ("manifest", "pseudonymise", "data_manifests/knee.csv", "--key-file", "key")
    assert organseg(*arguments, "--out", "one.csv", cwd=place).returncode == 0
    assert organseg(*arguments, "--out", "two.csv", cwd=place).returncode == 0
    one = (place / "one.csv").read_text()
    assert one == (place / "two.csv").read_text()
    assert ",p," not in one
    assert (place / "key").stat().st_mode & 0o077 == 0


def test_manifest_init_drafts_a_manifest_that_loads(place: Path) -> None:
    data = place / "data"
    for name in ("images/a.nii.gz", "masks/a.nii.gz"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(b"x")
    (place / "data_manifests" / "knee.csv").unlink()
    done = organseg("manifest", "init", "data", "--out", "data_manifests/knee.csv", "--sha256", cwd=place)
    assert done.returncode == 0, done.stderr
    assert organseg("manifest", "check", "--study", "knee", cwd=place, ORGANSEG_DATA="data").returncode == 0


def test_manifest_add_takes_corrected_masks_back(place: Path) -> None:
    (place / "data").mkdir()
    (place / "data" / "a.nii.gz").write_bytes(b"a scan")
    (place / "fixed").mkdir()
    (place / "fixed" / "a.nii.gz").write_bytes(b"better")
    done = organseg("manifest", "add", "--study", "knee", "fixed", cwd=place, ORGANSEG_DATA="data")
    assert done.returncode == 0, done.stderr
    assert "corrected/knee/a.nii.gz" in (place / "data_manifests" / "knee.csv").read_text()
    assert (place / "data" / "corrected" / "knee" / "a.nii.gz").read_bytes() == b"better"
    (place / "fixed" / "zzz.nii.gz").write_bytes(b"x")
    done = organseg("manifest", "add", "--study", "knee", "fixed", cwd=place, ORGANSEG_DATA="data")
    assert done.returncode == 2
    assert "zzz" in done.stderr


def test_clean_says_what_it_removes(place: Path) -> None:
    (place / "results" / "knee" / "checkpoints").mkdir(parents=True)
    (place / "results" / "knee" / "checkpoints" / "x").write_text("x")
    (place / "results" / "knee" / "report.html").write_text("kept")
    for part in ("oof", "test"):
        stored = place / "results" / "knee" / "predictions" / part / "unet" / "probabilities"
        stored.mkdir(parents=True)
        (stored / "a.npz").write_text("x")
    done = organseg("clean", "--study", "knee", "--yes", cwd=place)
    assert done.returncode == 0
    assert "results/knee/predictions/oof" in done.stdout
    assert not (place / "results" / "knee" / "checkpoints").exists()
    assert not (place / "results" / "knee" / "predictions" / "oof").exists()
    assert (place / "results" / "knee" / "predictions" / "test" / "unet" / "probabilities" / "a.npz").exists()
    assert (place / "results" / "knee" / "report.html").exists()


@pytest.mark.parametrize("name", ["a'b", 'a"b', "a#b", "a b", "a%20b"])
def test_folders_may_have_odd_names(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20)).save(folder / "s.png")
    done = organseg("ingest", str(folder), "--out", str(folder / "out"), cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "out" / "scans" / "scan_0001.nii.gz").is_file()


def test_a_folder_that_no_address_of_a_store_can_hold(tmp_path: Path) -> None:
    folder = tmp_path / "a?b"
    folder.mkdir()
    done = organseg("runs", cwd=folder)
    assert done.returncode == 2
    assert "has a '?'" in done.stderr
    assert list(tmp_path.iterdir()) == [folder]


def test_a_terminal_that_knows_ascii_alone(tmp_path: Path) -> None:
    Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20)).save(tmp_path / "ä.png")
    done = organseg("info", "ä.png", cwd=tmp_path, PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert done.returncode == 0, done.stderr


def test_a_reader_that_has_gone_is_no_fault(tmp_path: Path) -> None:
    command = f"{sys.executable} -m pipeline schema | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 141
