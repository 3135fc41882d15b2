"""The real workflow: once through, again with nothing to do, after a change, and after kills at seeded moments."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from place import final_files, make_place, run, start
from traces import secrets_of, traces

from pipeline.core.study import parse_study
from pipeline.workflow import WorkflowStudy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that was run without a disturbance."""
    folder = make_place(tmp_path_factory.mktemp("whole") / "study")
    run(folder, "--config", "study=demo_xray")
    return folder


def test_everything_of_the_table_is_there(finished: Path) -> None:
    results = finished / "results" / "demo_xray"
    for name in ("scans.csv", "rejected.csv", "masks.rle.csv", "fingerprint.json", "splits.csv", "plans/unet.yaml"):
        assert (results / name).stat().st_size > 0, name
    for name in ("models/unet/fold0/weights.safetensors", "metrics/test/summary.csv", "champion.yaml", "report.html"):
        assert (results / name).stat().st_size > 0, name
    rejected = (results / "rejected.csv").read_text()
    assert rejected.count("\n") == 3, "two planted bad scans and a header"
    assert (finished / "results" / "mlflow.db").exists()


def test_nothing_that_was_left_behind_tells_a_patient_or_a_source(finished: Path) -> None:
    """Neither results nor logs nor MLflow's store; the demo's own scans are the source."""
    source = finished / "results" / "demo_xray" / "demo"
    secrets = secrets_of(source)
    assert len(secrets) > 30
    assert traces(source, secrets, ()), "what is looked for is found where it is"
    assert traces(finished / "results", secrets, ("demo",)) == []


def test_a_second_run_does_nothing_and_says_so(finished: Path) -> None:
    before = final_files(finished)
    assert "Nothing to be done" in run(finished, "--config", "study=demo_xray")
    assert final_files(finished) == before


def test_a_changed_scan_runs_its_shard_and_what_follows(finished: Path, tmp_path: Path) -> None:
    image = next((finished / "results" / "demo_xray" / "demo" / "images").glob("*.dcm"))
    os.utime(image)
    output = run(finished, "--config", "study=demo_xray", "--dry-run")
    assert output.count("rule ingest_shard:") == 1
    assert "rule report:" in output
    run(finished, "--config", "study=demo_xray")


@pytest.mark.parametrize("seed", range(2))
def test_killed_and_run_again_it_ends_in_the_same_files(finished: Path, tmp_path: Path, seed: int) -> None:
    """Snakemake alone is killed (its jobs live on), or with all its jobs, at three moments drawn from the seed."""
    draw = random.Random(seed)
    folder = make_place(tmp_path / "study")
    for _ in range(3):
        process = start(folder, "--config", "study=demo_xray")
        time.sleep(draw.uniform(4, 45))
        if draw.random() < 0.5:
            os.kill(process.pid, signal.SIGKILL)
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
    run(folder, "--config", "study=demo_xray")
    assert final_files(folder) == final_files(finished)


def test_trainings_that_run_side_by_side_share_the_cores(tmp_path: Path) -> None:
    folder = make_place(tmp_path / "study")
    alone = run(folder, "--config", "study=demo_xray", "--dry-run", "--cores", "9")
    two = run(folder, "--config", "study=demo_xray", "--dry-run", "--cores", "9", "--resources", "gpu=2")
    assert "threads: 8" in alone
    assert "threads: 4" in two
    assert "threads: 8" not in two


def test_a_model_is_trained_again_where_the_weights_it_starts_from_are_others(tmp_path: Path) -> None:
    weights = tmp_path / "earlier" / "unet" / "weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"one")
    values = {
        "modality": "mri",
        "organs": ["a"],
        "models": {"unet": {}, "next": {"init_from": str(tmp_path / "earlier")}},
    }
    named = WorkflowStudy("heads", parse_study(values, "heads"))
    assert named.start("unet") == ""
    before = named.start("next")
    assert before == named.start("next") != ""
    weights.write_bytes(b"other")
    assert named.start("next") != before
