"""What `examples/` shows works: a study without Snakemake, and every cell of the notebook on what came of it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.place import environment, make_place

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo in small, run by the script."""
    folder = make_place(tmp_path_factory.mktemp("examples") / "study")
    command = [sys.executable, str(root / "examples" / "study_without_snakemake.py"), "demo_xray"]
    done = subprocess.run(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return folder


def test_the_script_is_short_and_ends_in_a_report(finished: Path, root: Path) -> None:
    lines = (root / "examples" / "study_without_snakemake.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 26
    results = finished / "results" / "demo_xray"
    for name in (
        "champion.yaml",
        "masks.rle.csv",
        "metrics/oof/summary.csv",
        "metrics/test/summary.csv",
        "report.html",
    ):
        assert (results / name).stat().st_size > 0, name


def test_every_cell_of_the_notebook_runs_on_the_demo(finished: Path, root: Path) -> None:
    """In one process of its own, one cell after the other, as a notebook does."""
    notebook = json.loads((root / "examples" / "first_steps.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 6
    code = "\n".join(f"exec(compile({cell!r}, 'cell {number}', 'exec'))" for number, cell in enumerate(cells, 1))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=finished, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for said in (
        "organs: heart, left_lung, right_lung",
        "known from: patient",
        "the file names its dialect itself",
    ):
        assert said in done.stdout


def test_the_notebook_is_kept_without_results(root: Path) -> None:
    """They would change with every run, and hold pictures."""
    notebook = json.loads((root / "examples" / "first_steps.ipynb").read_text())
    assert not [cell for cell in notebook["cells"] if cell.get("outputs") or cell.get("execution_count")]
