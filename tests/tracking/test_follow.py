"""A training is delivered while it runs, by a thread of its own that never gets in its way, however it ends."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import InputError
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.tracking import background, deliver_fold, follow, jobs
from pipeline.tracking.background import Load
from pipeline.tracking.leaderboard import boards
from pipeline.tracking.store import Store, reach
from tests.tracking.studies import write_journal

Make = Callable[..., tuple[Study, StudyPaths]]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other work on the machine must not decide a test."""
    monkeypatch.setattr(background, "LAST", 120.0)
    monkeypatch.setattr(background, "LAST_OF_STOPPED", 120.0)


def child(store: Store, name: str = "unet · fold 0") -> Any:
    return next(run for run in store.client.search_runs(["1"]) if run.info.run_name == name)


def points_in(paths: StudyPaths) -> int:
    """Values of the loss that lie in the store's file already."""
    file = paths.root / "results" / "mlflow.db"
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM metrics WHERE key = 'loss'").fetchone()[0])
    except sqlite3.Error:
        return 0


def dead_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_followed_training_is_delivered_when_it_ends(make: Make) -> None:
    study, paths = make()
    journal = paths.checkpoints("abc") / "journal.jsonl"
    said: list[str] = []
    began = time.perf_counter()
    with follow(study, paths, "unet", 0, journal, said.append):
        assert time.perf_counter() - began < 1
        assert "mlflow" not in os.environ.get("MLFLOW_TRACKING_URI", "")
        write_journal(journal)
    run = child(Store.of(study, paths))
    assert said == []
    assert run.info.status == "FINISHED"
    assert run.data.metrics["training_seconds"] == 12.5


KILLED = """
import sys, time
from pathlib import Path
from pipeline.tracking import background, follow
from tests.tracking.studies import make_study, write_journal
background.FIRST, background.INTERVAL = 0.0, 0.2
study, paths = make_study(Path(sys.argv[1]), write=False)
journal = paths.checkpoints("abc") / "journal.jsonl"
with follow(study, paths, "unet", 0, journal, print):
    write_journal(journal, range(0, 50, 10), end=False)
    print("written", flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_a_killed_training_ends_as_killed_and_goes_on_under_its_own_id(make: Make, root: Path) -> None:
    study, paths = make()
    training = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(paths.root)], stdout=subprocess.PIPE, cwd=root, start_new_session=True
    )
    assert training.stdout is not None
    assert training.stdout.readline() == b"written\n"
    for _ in range(240):
        time.sleep(0.25)
        if points_in(paths) == 5:
            break
    os.killpg(training.pid, signal.SIGKILL)
    training.wait()
    store = Store.of(study, paths)
    before = child(store)
    # Nobody is left to say it; the next look at the runs does.
    assert before.info.status == "RUNNING"
    assert len(store.client.get_metric_history(before.info.run_id, "loss")) == 5
    ((line,),) = [board.lines for board in boards(None, paths.root)[0]]
    assert line.status == "killed"
    journal = paths.checkpoints("abc") / "journal.jsonl"
    with follow(study, paths, "unet", 0, journal):
        write_journal(journal, range(30, 100, 10))
    after = child(store)
    assert after.info.run_id == before.info.run_id
    assert after.info.status == "FINISHED"
    assert len(store.client.get_metric_history(before.info.run_id, "loss")) == 10


ENDS_EARLY = """
import sys, time
from pathlib import Path
from pipeline.tracking import background, follow
from tests.tracking.studies import make_study, write_journal
background.FIRST, background.INTERVAL, background.LAST = 0.0, 0.01, 0.0
study, paths = make_study(Path(sys.argv[1]), write=False)
journal = paths.checkpoints("abc") / "journal.jsonl"
with follow(study, paths, "unet", 0, journal, print):
    write_journal(journal)
    time.sleep(float(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.3, 1.0, 2.0, 4.0])
def test_a_process_may_end_at_any_moment_of_its_thread_such_as_while_mlflow_is_loaded(
    make: Make, root: Path, seconds: float
) -> None:
    study, paths = make()
    done = subprocess.run(
        [sys.executable, "-c", ENDS_EARLY, str(paths.root), str(seconds)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    there = points_in(paths)
    assert there == 10 or "delivered with the next stage" in done.stdout
    assert deliver_fold(study, paths, "unet", 0)
    assert child(Store.of(study, paths)).info.status == "FINISHED"
    assert points_in(paths) == 10


@pytest.mark.slow
def test_a_failed_training_is_told_from_a_killed_one(make: Make) -> None:
    study, paths = make()
    journal = paths.checkpoints("abc") / "journal.jsonl"

    def train(error: BaseException) -> None:
        with follow(study, paths, "unet", 0, journal):
            write_journal(journal, range(0, 20, 10), end=False)
            raise error

    with pytest.raises(ZeroDivisionError):
        train(ZeroDivisionError())
    assert child(Store.of(study, paths)).info.status == "FAILED"
    with pytest.raises(SystemExit):
        train(SystemExit(143))
    # What is stopped has little time left: MLflow is not loaded for it, and the next stage says how it ended.
    assert deliver_fold(study, paths, "unet", 0)
    assert child(Store.of(study, paths)).info.status == "KILLED"


def test_an_unreachable_server_is_said_and_the_journal_waits(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    study, paths = make()
    address = f"http://127.0.0.1:{dead_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    journal = paths.checkpoints("abc") / "journal.jsonl"
    said: list[str] = []
    began = time.perf_counter()
    with follow(study, paths, "unet", 0, journal, said.append):
        write_journal(journal)
    assert time.perf_counter() - began < 20
    assert address in said[0]
    assert "does not answer" in said[0]
    assert "next stage" in said[-1]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert deliver_fold(study, paths, "unet", 0)
    assert (
        len(Store.of(study, paths).client.get_metric_history(child(Store.of(study, paths)).info.run_id, "loss")) == 10
    )


def test_the_user_may_insist_on_the_server_or_do_without(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    study, paths = make()
    journal = paths.checkpoints("abc") / "journal.jsonl"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{dead_port()}")
    monkeypatch.setenv("ORGANSEG_TRACKING", "required")
    with pytest.raises(InputError, match="does not answer"), follow(study, paths, "unet", 0, journal):
        pytest.fail("the training was begun")
    monkeypatch.setenv("ORGANSEG_TRACKING", "offline")
    with follow(study, paths, "unet", 0, journal):
        pass
    assert not paths.tracking.exists()
    monkeypatch.setenv("ORGANSEG_TRACKING", "perhaps")
    with pytest.raises(InputError, match="perhaps"), follow(study, paths, "unet", 0, journal):
        pytest.fail("the training was begun")


def test_trouble_of_ours_does_not_reach_the_training(make: Make) -> None:
    study, paths = make()
    paths.plan("unet").unlink()
    said: list[str] = []
    with follow(study, paths, "unet", 0, paths.checkpoints("abc") / "journal.jsonl", said.append):
        trained = True
    assert trained
    assert "does not exist" in said[0]


def test_a_store_that_is_no_server_needs_no_answer() -> None:
    assert reach("sqlite:///somewhere.db") is None
    assert reach(f"http://127.0.0.1:{dead_port()}") is not None


def test_a_training_is_delivered_while_it_runs(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST", 0.0)
    monkeypatch.setattr(background, "INTERVAL", 0.1)
    study, paths = make()
    journal = paths.checkpoints("abc") / "journal.jsonl"
    with follow(study, paths, "unet", 0, journal):
        write_journal(journal, range(0, 50, 10), end=False)
        for _ in range(240):
            if points_in(paths) == 5:
                break
            time.sleep(0.25)
        assert points_in(paths) == 5
        assert child(Store.of(study, paths)).info.status == "RUNNING"


def test_a_short_training_loads_no_mlflow_before_it_ends(make: Make, root: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from pipeline.tracking import background, follow\n"
        "from tests.tracking.studies import make_study\n"
        "background.INTERVAL = 0.05\n"
        "study, paths = make_study(Path(sys.argv[1]), write=False)\n"
        "with follow(study, paths, 'unet', 0, paths.checkpoints('abc') / 'journal.jsonl'):\n"
        "    time.sleep(0.5)\n"
        "    assert 'mlflow' not in sys.modules\n"
    )
    _, paths = make()
    subprocess.run([sys.executable, "-c", code, str(paths.root)], cwd=root, check=True)


def test_a_training_does_not_wait_for_another_that_writes(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "LAST", 1.0)
    monkeypatch.setattr(background, "SILENCE", 0.2)
    study, paths = make()
    journal, said = paths.checkpoints("abc") / "journal.jsonl", list[str]()
    key = jobs.describe(study, paths, "unet", 0, journal)["key"]
    began = time.perf_counter()
    with jobs.lock_job(paths, key) as held, follow(study, paths, "unet", 0, journal, said.append):
        assert held
        write_journal(journal)
    assert time.perf_counter() - began < 10
    assert any("waiting for MLflow" in line for line in said)
    assert "delivered with the next stage" in said[-1]


def test_the_load_of_a_training_is_measured() -> None:
    load = Load()
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        pass
    found = load.sample()
    assert found["processor_percent"] > 20
    assert found["memory_gib"] > 0
