"""Delivery ends in the same run, however often and in whatever parts it happens."""

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.files import read_json
from pipeline.core.journal import Journal, read_journal
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.tracking import deliver_fold, delivery, jobs
from pipeline.tracking.leaderboard import boards
from pipeline.tracking.store import Store, TrackingError
from pipeline.tracking.tree import StudyRuns
from tests.tracking.studies import ORGANS, make_plan, write_journal

Make = Callable[..., tuple[Study, StudyPaths]]


def begin(study: Study, paths: StudyPaths, fold: int = 0, model: str = "unet") -> tuple[Path, jobs.Record]:
    journal = paths.checkpoints(f"abc{fold}") / "journal.jsonl"
    return journal, jobs.open_job(study, paths, model, fold, journal)


def deliver(study: Study, paths: StudyPaths) -> Store:
    store = Store.of(study, paths)
    said: list[str] = []
    assert delivery.deliver_pending(StudyRuns(store, study, paths), said.append) == 0, said
    return store


def runs(store: Store, study: str = "chest") -> dict[str, Any]:
    experiment = store.client.get_experiment_by_name(study)
    return {run.info.run_name: run for run in store.client.search_runs([experiment.experiment_id])}


def history(store: Store, run: Any) -> Counter[tuple[str, int]]:
    return Counter(
        (key, point.step) for key in run.data.metrics for point in store.client.get_metric_history(run.info.run_id, key)
    )


def database(paths: StudyPaths, query: str) -> list[Any]:
    with sqlite3.connect(paths.root / "results" / "mlflow.db") as connection:
        rows = connection.execute(query).fetchall()
    connection.close()
    return rows


def test_a_finished_training_becomes_a_tree_with_everything_in_it(make: Make) -> None:
    study, paths = make()
    journal, _ = begin(study, paths)
    write_journal(journal)
    found = runs(store := deliver(study, paths))
    assert set(found) == {"unet", "unet · fold 0"}
    parent, child = found["unet"], found["unet · fold 0"]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert {parent.info.status, child.info.status} == {"FINISHED"}
    assert parent.data.params["network.name"] == "unet"
    assert parent.data.params["patch"] == "[64, 64]"
    assert child.data.params == {}, "they would cover the pictures in the UI"
    assert child.data.tags["device"] == "cpu"
    assert child.data.tags["version.torch"] == "2.13.0"
    contexts = {i.tags[0].value: json.loads(i.dataset.profile)["patients"] for i in child.inputs.dataset_inputs}
    assert contexts == {"train": 2, "validation": 2, "test": 2}
    assert {i.dataset.digest for i in child.inputs.dataset_inputs} == {child.data.tags["manifest"]}
    assert "validation Dice/left lung upper" in child.data.metrics
    assert "| left lung (upper) | 0.800 |" in child.data.tags["mlflow.note.content"]
    points = history(store, child)
    assert max(points.values()) == 1
    assert {step for key, step in points if key == "loss"} == set(range(0, 100, 10))
    losses = store.client.get_metric_history(child.info.run_id, "loss")
    times = {e["step"]: round(e["time"] * 1000) for e in read_journal(journal) if e["kind"] == "step"}
    assert {point.step: point.timestamp for point in losses} == times


def test_delivering_again_changes_nothing(make: Make) -> None:
    study, paths = make()
    journal, job = begin(study, paths)
    write_journal(journal)
    deliver(study, paths)
    tables = ("runs", "metrics", "params", "tags", "inputs", "datasets", "experiments")
    before = {table: sorted(database(paths, f"SELECT * FROM {table}"), key=str) for table in tables}
    deliver(study, paths)
    # Also where nobody remembers that it was delivered.
    jobs.update_job(paths, job["key"], delivered=None)
    deliver(study, paths)
    assert {table: sorted(database(paths, f"SELECT * FROM {table}"), key=str) for table in tables} == before


def test_a_resumed_training_repeats_steps_and_nothing_is_doubled(make: Make) -> None:
    study, paths = make()
    journal, _ = begin(study, paths)
    write_journal(journal, range(0, 60, 10), end=False)
    found = runs(deliver(study, paths))
    assert found["unet · fold 0"].info.status == "KILLED"
    assert found["unet"].info.status == "KILLED"
    begin(study, paths)
    write_journal(journal, range(40, 100, 10))
    store = deliver(study, paths)
    again = runs(store)
    assert again["unet · fold 0"].info.run_id == found["unet · fold 0"].info.run_id
    assert {run.info.status for run in again.values()} == {"FINISHED"}
    points = history(store, again["unet · fold 0"])
    assert max(points.values()) == 1
    assert {step for key, step in points if key == "loss"} == set(range(0, 100, 10))


def test_a_training_begun_anew_is_another_run_and_the_old_one_does_not_stay_running(make: Make) -> None:
    study, paths = make()
    journal, job = begin(study, paths)
    write_journal(journal, range(0, 30, 10), end=False)
    store = Store.of(study, paths)
    first = delivery.Delivery(StudyRuns(store, study, paths), job, journal)
    first.resume()
    first.send()
    assert runs(store)["unet · fold 0"].info.status == "RUNNING"
    journal.unlink()
    begin(study, paths)
    write_journal(journal)
    deliver(study, paths)
    children = [r for r in store.client.search_runs(["1"]) if r.data.tags["role"] == "fold"]
    assert sorted(run.info.status for run in children) == ["FINISHED", "KILLED"]
    assert runs(store)["unet"].info.status == "FINISHED"


def test_the_leaderboard_ends_runs_whose_machine_went_down(make: Make) -> None:
    study, paths = make()
    journal, job = begin(study, paths)
    write_journal(journal, range(0, 30, 10), end=False)
    store = Store.of(study, paths)
    sender = delivery.Delivery(StudyRuns(store, study, paths), job, journal)
    sender.resume()
    sender.send()
    with jobs.lock_job(paths, job["key"]):
        ((line,),) = [board.lines for board in boards(None, paths.root)[0]]
        assert line.status == "running", "while its training delivers, a run goes on"
    ((line,),) = [board.lines for board in boards(None, paths.root)[0]]
    assert line.status == "killed"


def test_the_journal_beside_the_model_stands_in_for_cleaned_checkpoints(make: Make) -> None:
    study, paths = make()
    write_journal(paths.model("unet", 1) / "journal.jsonl", fold=1)
    assert deliver_fold(study, paths, "unet", 1)
    assert runs(Store.of(study, paths))["unet · fold 1"].info.status == "FINISHED"
    journal, _ = begin(study, paths)
    write_journal(journal)
    (paths.model("unet", 0)).mkdir(parents=True)
    journal.rename(paths.model("unet", 0) / "journal.jsonl")
    assert runs(deliver(study, paths))["unet · fold 0"].info.status == "FINISHED"


def test_folds_that_start_at_once_share_one_parent(make: Make) -> None:
    study, paths = make(folds=8)
    for fold in range(8):
        journal, _ = begin(study, paths, fold)
        write_journal(journal, range(0, 20, 10), fold=fold)
    store = Store.of(study, paths)
    assert store.client is not None  # opened once: the threads stand for processes that meet at the lock
    with ThreadPoolExecutor(8) as pool:
        assert all(
            pool.map(lambda job: delivery.deliver_job(StudyRuns(store, study, paths), job), jobs.all_jobs(paths))
        )
    roles = Counter(run.data.tags["role"] for run in store.client.search_runs(["1"]))
    assert roles == {"model": 1, "fold": 8}


def test_another_plan_is_another_parent(make: Make) -> None:
    study, paths = make()
    journal, _ = begin(study, paths)
    write_journal(journal)
    make_plan(batch=8).write(paths.plan("unet"))
    journal, _ = begin(study, paths, 1)
    write_journal(journal, fold=1)
    store = deliver(study, paths)
    parents = [run for run in store.client.search_runs(["1"]) if run.data.tags["role"] == "model"]
    assert sorted(run.data.params["batch"] for run in parents) == ["4", "8"]


def test_a_store_that_was_thrown_away_gets_everything_again(make: Make, empty_store: Path) -> None:
    study, paths = make()
    journal, _ = begin(study, paths)
    write_journal(journal)
    deliver(study, paths)
    other = paths.root / "other.db"
    other.write_bytes(empty_store.read_bytes())
    moved = study.model_copy(update={"tracking": study.tracking.model_copy(update={"uri": f"sqlite:///{other}"})})
    store = deliver(moved, paths)
    assert len(history(store, runs(store)["unet · fold 0"])) == 37


def test_a_copy_of_the_file_alone_holds_everything(make: Make, tmp_path: Path) -> None:
    study, paths = make()
    write_journal(paths.model("unet", 0) / "journal.jsonl")
    assert deliver_fold(study, paths, "unet", 0)
    copy = tmp_path / "copy.db"
    copy.write_bytes((paths.root / "results" / "mlflow.db").read_bytes())
    with sqlite3.connect(copy) as connection:
        ((count,),) = connection.execute("SELECT COUNT(*) FROM metrics WHERE key = 'loss'").fetchall()
    connection.close()
    assert count == 10


def test_a_batch_whose_answer_was_lost_is_not_doubled(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    study, paths = make()
    journal, job = begin(study, paths)
    write_journal(journal)
    store = Store.of(study, paths)
    sender = delivery.Delivery(StudyRuns(store, study, paths), job, journal)
    real = MlflowClient.log_batch

    def lost(client: MlflowClient, run_id: str, metrics: Any = (), **more: Any) -> None:
        real(client, run_id, metrics=metrics, **more)
        if metrics:
            raise ConnectionResetError("the answer was lost")

    monkeypatch.setattr(MlflowClient, "log_batch", lost)
    with pytest.raises(TrackingError, match="answer was lost"):
        sender.send()
    monkeypatch.setattr(MlflowClient, "log_batch", real)
    sender.finish("FINISHED")
    points = history(store, runs(store)["unet · fold 0"])
    assert len(points) == 37
    assert max(points.values()) == 1


def test_a_store_of_a_newer_schema_is_named_as_such(make: Make) -> None:
    study, paths = make()
    with sqlite3.connect(paths.root / "results" / "mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffff00000000'")
    connection.close()
    with pytest.raises(TrackingError, match="newer MLflow"):
        Store.of(study, paths).client  # noqa: B018
    journal, _ = begin(study, paths)
    write_journal(journal)
    said: list[str] = []
    assert not deliver_fold(study, paths, "unet", 0, said.append)
    assert "newer MLflow" in said[0]


def test_a_store_of_an_older_schema_names_the_command(make: Make) -> None:
    study, paths = make()
    with sqlite3.connect(paths.root / "results" / "mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    connection.close()
    with pytest.raises(TrackingError, match="mlflow db upgrade"):
        Store.of(study, paths).client  # noqa: B018


def test_a_job_file_holds_no_address_of_the_store(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    study, paths = make()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somebody:secret@127.0.0.1:9")
    journal, job = begin(study, paths)
    assert "secret" not in json.dumps(read_json(jobs.job_path(paths, job["key"])))
    said: list[str] = []
    write_journal(journal)
    assert not deliver_fold(study, paths, "unet", 0, said.append)
    assert "127.0.0.1:9" in said[0]
    assert "secret" not in said[0]


def test_no_organ_is_lost_whatever_it_is_called(make: Make) -> None:
    study, paths = make(organs=["a+b", "a b", "ä(1)", "ä[1]"])
    make_plan(organs=["a+b", "a b", "ä(1)", "ä[1]"]).write(paths.plan("unet"))
    journal, _ = begin(study, paths)
    with Journal(journal) as handle:
        handle.write("start", model="unet", fold=0)
        handle.write("validation", step=0, dice={"a+b": 0.1, "a b": 0.2, "ä(1)": 0.3, "ä[1]": 0.4}, mean=0.25)
        handle.write("end", step=0, seconds=1.0, reason="done")
    metrics = runs(deliver(study, paths))["unet · fold 0"].data.metrics
    assert {v for k, v in metrics.items() if k.startswith("validation Dice/")} == {0.1, 0.2, 0.3, 0.4, 0.25}


def test_importing_costs_no_mlflow() -> None:
    code = "import pipeline.tracking, pipeline.cli.runs, sys; print(sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"mlflow", "pandas", "sqlalchemy", "torch", "rich"} & set(eval(done.stdout))


def test_organs_used_here_are_awkward() -> None:
    assert "left lung (upper)" in ORGANS


WRITERS = """
import multiprocessing, sys, time
from pathlib import Path
from pipeline.core.journal import Journal
from pipeline.core.paths import StudyPaths
from pipeline.core.study import load_study
from pipeline.tracking import delivery, env, jobs
env.prepare()
import mlflow.store.tracking.sqlalchemy_store
from pipeline.tracking.store import Store
from pipeline.tracking.tree import StudyRuns

root = Path(sys.argv[1])
paths = StudyPaths("chest", root)

def write(fold):
    from tests.tracking.studies import make_study
    study, _ = make_study(root, folds=8, write=False)
    journal = paths.checkpoints(str(fold)) / "journal.jsonl"
    job = jobs.open_job(study, paths, "unet", fold, journal)
    sender = delivery.Delivery(StudyRuns(Store.of(study, paths), study, paths), job, journal)
    with Journal(journal) as handle:
        handle.write("start", model="unet", fold=fold)
        for step in range(2000):
            handle.write("step", step=step, loss=1 / (step + 1))
            if step % 40 == 39:
                sender.send()
        handle.write("end", step=2000, seconds=1.0, reason="done")
    sender.finish("FINISHED")

processes = [multiprocessing.get_context("fork").Process(target=write, args=(fold,)) for fold in range(8)]
began = time.time()
for process in processes: process.start()
for process in processes: process.join()
print([process.exitcode for process in processes], round(time.time() - began, 1))
"""


@pytest.mark.slow
def test_eight_writers_on_one_new_file_lose_no_point(tmp_path: Path, root: Path) -> None:
    from tests.tracking.studies import make_study

    make_study(tmp_path, folds=8)
    done = subprocess.run(
        [sys.executable, "-c", WRITERS, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=root,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str([0] * 8)), done.stdout + done.stderr
    assert "locked" not in done.stderr
    paths = StudyPaths("chest", tmp_path)
    counted = database(
        paths, "SELECT run_uuid, COUNT(*), COUNT(DISTINCT step) FROM metrics WHERE key = 'loss' GROUP BY 1"
    )
    assert [(points, steps) for _, points, steps in counted] == [(2000, 2000)] * 8
    assert database(paths, "PRAGMA journal_mode") == [("wal",)]
    roles = database(paths, "SELECT value, COUNT(*) FROM tags WHERE key = 'role' GROUP BY 1 ORDER BY 1")
    assert roles == [("fold", 8), ("model", 1)]
