"""What is built is whole: installed in a fresh environment, in an empty folder, it runs a study to its report."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.workflow.place import SMALL

pytestmark = pytest.mark.slow

BUILD = "import sys, setuptools.build_meta as backend; print(getattr(backend, sys.argv[1])(sys.argv[2]))"
#: What git keeps and a build reads.
SOURCES = ("pipeline", "organseg", "docs", "profiles", "configs", ".ci", "Snakefile", "README.md", "LICENSE")
SOURCES += ("pyproject.toml", "setup.py", "MANIFEST.in")


def build(kind: str, source: Path, out: Path) -> Path:
    out.mkdir(exist_ok=True)
    command = [sys.executable, "-c", BUILD, f"build_{kind}", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the source distribution, as an index would have it."""
    folder = tmp_path_factory.mktemp("build")
    for name in SOURCES:
        path, to = root / name, folder / "checkout" / name
        if path.is_dir():
            shutil.copytree(path, to, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, to)
    packed = build("sdist", folder / "checkout", folder / "dist")
    with tarfile.open(packed) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    return build("wheel", next((folder / "unpacked").iterdir()), folder / "dist")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment with the wheel, and with what is installed here beneath it."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, symlinks=True)
    bin_folder = home / "bin"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    (site / "beneath.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [sys.executable, "-m", "pip", "--python", str(bin_folder / "python"), "install", "-q", "--no-index"]
    subprocess.run([*command, "--no-deps", "--ignore-installed", str(wheel)], check=True, env=environment())
    return bin_folder


def environment() -> dict[str, str]:
    """The environment of somebody who has no checkout."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("ORGANSEG_", "MLFLOW_", "PYTHON"))}


def organseg(bin_folder: Path, folder: Path, *words: str) -> str:
    command = [str(bin_folder / "organseg"), *words]
    done = subprocess.run(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def test_it_holds_the_workflow_and_no_test(wheel: Path, root: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert archive.read("pipeline/shipped/Snakefile") == (root / "Snakefile").read_bytes()
    captions = {f"pipeline/shipped/docs/captions/{path.name}" for path in (root / "docs" / "captions").iterdir()}
    studies = {f"pipeline/shipped/configs/{name}.yaml" for name in ("demo_xray", "demo_mri")}
    assert {name for name in names if name.startswith("pipeline/shipped/")} == {
        "pipeline/shipped/Snakefile",
        "pipeline/shipped/.ci/environment.yaml",
        "pipeline/shipped/.ci/environment.post-deploy.sh",
        "pipeline/shipped/profiles/default/config.yaml",
        *studies,
        *captions,
    }
    assert {"organseg/py.typed", "pipeline/py.typed", "organseg/__main__.py"} <= names
    assert not {name for name in names if name.startswith(("tests", "setup", "configs"))}
    missing = {
        path.relative_to(root).as_posix()
        for package in ("pipeline", "organseg")
        for path in (root / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    } - names
    assert missing == set(), "files beside the code that the package leaves behind"


def test_in_an_empty_folder_it_runs_a_study_to_its_report(installed: Path, tmp_path: Path) -> None:
    """Beside a `pipeline.py` and a `snakemake.py` of somebody else's, too."""
    for name in ("pipeline.py", "snakemake.py"):
        (tmp_path / name).write_text("raise RuntimeError('the module of somebody else was run')\n")
    assert "demo_mri" in organseg(installed, tmp_path, "run", "--study", "demo_mri", "--cores", "2", "--", "--dry-run")
    config = yaml.safe_load(packaged(installed))
    plan = {"patch": [32, 32], "size": [32, 32], "batch": 2, "network": SMALL}
    config |= {"budget": {"steps": 6}, "models": {"unet": {"plan": plan}}, "export": {"formats": ["nifti", "overlays"]}}
    config["demo"]["count"], config["ingest"]["shards"], config["evaluate"]["bootstrap"] = 8, 1, 100
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "demo_xray.yaml").write_text(yaml.safe_dump(config))
    organseg(installed, tmp_path, "run", "--study", "demo_xray", "--cores", "2")
    assert (tmp_path / "results" / "demo_xray" / "report.html").stat().st_size > 100_000


def packaged(installed: Path) -> str:
    """The demo's config as it lies in the installed package."""
    code = "from pipeline.core.paths import shipped; print((shipped() / 'configs' / 'demo_xray.yaml').read_text())"
    command = [str(installed / "python"), "-P", "-c", code]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout
