"""What is wrong with a study is said before any work, by the workflow's dry run too, which writes nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.core.errors import InputError
from pipeline.core.files import write_table
from pipeline.core.study import parse_study
from pipeline.early import check_study
from pipeline.workflow import check_settings, open_studies
from tests.field.making import grey, labels, write_nifti, write_study

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the study ``s`` of four scans that were ingested before."""
    monkeypatch.chdir(tmp_path)
    for name in ("ORGANSEG_DATA", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    rows = []
    for name in "abcd":
        write_nifti(tmp_path / "data" / f"{name}.nii.gz", grey())
        write_nifti(tmp_path / "data" / f"{name}_m.nii.gz", labels())
        rows.append({"scan_id": name, "patient_id": name, "image": f"{name}.nii.gz", "mask": f"{name}_m.nii.gz"})
    write_study(tmp_path, rows)
    write_table(tmp_path / "results/s/scans.csv", rows, ["scan_id", "patient_id"])
    return tmp_path


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    """All files and folders with their times and contents, but for Snakemake's own notes."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
        if ".snakemake" not in path.parts
    }


def test_a_dry_run_writes_nothing_and_tells_what_a_run_would_do(place: Path) -> None:
    before = everything(place)
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-n", "--config", "study=s"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("rule ingest_shard:") == 4
    assert everything(place) == before


@pytest.mark.parametrize("dry", [False, True])
def test_a_study_whose_data_are_gone_is_left_as_it_is(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dry: bool
) -> None:
    (place / "elsewhere").mkdir()
    shutil.copy(place / "data" / "a.nii.gz", place / "elsewhere")
    before = everything(place)
    for folder, words in (("elsewhere", "7 of 8 files"), ("nowhere", "does not exist")):
        monkeypatch.setenv("ORGANSEG_DATA", folder)
        with pytest.raises(SystemExit) as end:
            open_studies({"study": "s"}, True, dry=dry)
        assert end.value.code == 2
        said = capsys.readouterr().err
        assert words in said
        assert str(place / folder) in said
    assert everything(place) == before


def test_one_file_that_is_gone_stops_nothing(place: Path) -> None:
    (place / "data" / "a.nii.gz").unlink()
    assert list(open_studies({"study": "s"}, True, dry=True)) == ["s"]


@pytest.mark.parametrize(
    ("settings", "files", "words"),
    [
        ({"studdy": "s"}, [], "'studdy' is not a key of --config. Did you mean 'study'?"),
        ({"study": "s", "cores": 3}, [], "'cores' is not a key of --config"),
        ({"modality": "mri", "organs": ["a"]}, [Path("configs/s.yaml")], "--config study=s"),
        ({"study": ""}, [], "names no study"),
        ({"study": None}, [], "names no study"),
    ],
)
def test_what_snakemake_is_given_is_checked(settings: dict[str, Any], files: list[Path], words: str) -> None:
    with pytest.raises(InputError) as error:
        check_settings(settings, files)
    assert words in str(error.value)


def test_studies_are_named_one_or_several() -> None:
    assert check_settings({}) == "demo_xray,demo_mri"
    assert check_settings({"study": " a, b"}) == "a,b"
    assert check_settings({"study": ["a", "b"]}) == "a,b"
    assert check_settings({"study": 7}) == "7"


def test_a_study_that_does_not_exist_is_refused_with_the_nearest(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(place / "configs/s.yaml", place / "configs/knees.yaml")
    with pytest.raises(SystemExit):
        open_studies({"study": "knee"}, True, dry=True)
    assert "Did you mean 'knees'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("models", "words"),
    [
        (["unett"], "there is no network 'unett'. Did you mean unet"),
        ({"a": {"network": "unet", "plan": {"bach": 2}}}, "bach is not a key of a plan. Did you mean 'batch'?"),
        ({"a": {"network": "unet", "plan": {"organs": ["x"]}}}, "organs cannot be set here"),
        ({"a": {"network": "unet", "plan": {"batch": 0}}}, "batch: "),
        ({"a": {"network": "unet", "plan": {"batch": "many"}}}, "batch: "),
        ({"a": {"network": "unet", "plan": {"network": {"featurs": [8]}}}}, "unet has no option 'featurs'"),
        ({"a": {"network": "ternausnet11", "dims": 3}}, "2-D only"),
        ({"a": {"network": "monai:"}}, "lacks its member"),
        ({"a": {"network": "smp:unet"}}, "does not name an encoder"),
        (
            {"a": {"network": "unet", "init_from": "results/old/champion"}},
            "to start from",
        ),
        ({"a": {"network": "monai:SegResNett"}}, "MONAI has no network 'SegResNett'. Did you mean SegResNet"),
    ],
)
def test_networks_and_plan_keys_are_checked_early(models: Any, words: str) -> None:
    with pytest.raises(InputError) as error:
        check_study(parse_study({"modality": "mri", "organs": ["a"], "models": models}, "s"))
    assert words in str(error.value)


def test_plans_that_are_right_pass() -> None:
    plan = {"patch": [32, 32], "batch": 2, "network": {"features": [8, 16]}, "loss": {"name": "dice_ce"}}
    models = {"unet": {"plan": plan}, "ternausnet11": {}, "m": {"network": "monai:SegResNet", "dims": 3}}
    check_study(parse_study({"modality": "mri", "organs": ["a"], "models": models}, "s"))


def _champion(folder: Path, organs: list[str]) -> None:
    facts = {
        "name": "unet",
        "study": "other",
        "modality": "mri",
        "organs": organs,
        "overlapping": False,
        "colors": dict.fromkeys(organs, "#112233"),
        "members": [{"model": "unet", "fold": 0, "folder": "members/unet-fold0"}],
        "format": 2,
    }
    folder.mkdir(parents=True)
    (folder / "champion.yaml").write_text(yaml.safe_dump(facts))


def test_a_model_to_apply_is_checked_early(place: Path) -> None:
    def study(model: str) -> Any:
        return parse_study({"modality": "mri", "organs": ["femur", "tibia"], "model": model}, "s")

    _champion(place / "results/knees/champion", ["femur", "tibia"])
    _champion(place / "results/hips/champion", ["femur"])
    check_study(study("results/knees/champion"))
    with pytest.raises(InputError, match="it lacks tibia"):
        check_study(study("results/hips/champion"))
    with pytest.raises(InputError, match="there is no model 'results/knee/champion'") as error:
        check_study(study("results/knee/champion"))
    assert "Did you mean 'results/knees/champion'?" in str(error.value)
    with pytest.raises(InputError, match="nothing was registered here yet"):
        check_study(study("models:/organseg-knees@champion"))
    assert not (place / "results/mlflow.db").exists()
