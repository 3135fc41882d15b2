"""A training is followed by a process of its own, which ends with it however it ends, and never gets in its way."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import InputError
from pipeline.core.journal import read_journal
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.tracking import deliver_fold, follow, follower, jobs
from pipeline.tracking.load import LoadRecorder, memory_gib, processor_seconds
from pipeline.tracking.store import Store, reach
from tests.tracking.studies import write_journal

Make = Callable[..., tuple[Study, StudyPaths]]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other work on the machine must not decide a test."""
    monkeypatch.setattr(follower, "SHORTEST_WAIT", 60.0)
    monkeypatch.setattr(follower, "NICENESS", 0)


def child(store: Store, name: str = "unet · fold 0") -> Any:
    return next(run for run in store.client.search_runs(["1"]) if run.info.run_name == name)


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
from pipeline.tracking import follow, follower
from tests.tracking.studies import make_study, write_journal
follower.NICENESS = 0
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
    os.killpg(training.pid, signal.SIGKILL)
    training.wait()
    key = jobs.all_jobs(paths)[0]["key"]
    for _ in range(120):
        with jobs.lock_job(paths, key, wait=False) as held:
            if held and "delivered" in jobs.read_job(paths, key):
                break
        time.sleep(0.25)
    store = Store.of(study, paths)
    before = child(store)
    assert before.info.status == "KILLED"
    assert len(store.client.get_metric_history(before.info.run_id, "loss")) == 5
    journal = paths.checkpoints("abc") / "journal.jsonl"
    with follow(study, paths, "unet", 0, journal):
        write_journal(journal, range(30, 100, 10))
    after = child(store)
    assert after.info.run_id == before.info.run_id
    assert after.info.status == "FINISHED"
    assert len(store.client.get_metric_history(before.info.run_id, "loss")) == 10


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


def test_the_follower_leaves_the_processor_to_the_training(root: Path) -> None:
    code = (
        "import os; from pathlib import Path; from pipeline.tracking.follower import AUTOGROUP, step_aside; "
        "step_aside(19); print(os.nice(0), AUTOGROUP.read_text() if AUTOGROUP.exists() else 'nice 19')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, start_new_session=True, check=True
    )
    assert done.stdout.startswith("19 ")
    # Niceness counts within a session alone where the kernel shares by sessions, and the follower has its own.
    assert done.stdout.strip().endswith("nice 19")


def test_the_load_of_a_training_is_written_down(tmp_path: Path) -> None:
    path = tmp_path / "system.jsonl"
    for _ in range(2):
        with LoadRecorder(path, os.getppid(), interval=0.05):
            time.sleep(0.4)
    events = list(read_journal(path))
    assert [event["step"] for event in events] == list(range(len(events)))
    assert len(events) >= 4
    assert all(event["memory_gib"] > 0 for event in events)
    assert processor_seconds(2**22 + 1) == 0
    assert memory_gib(2**22 + 1) == 0
