"""Against real servers: killed in the middle of a training and back again, nothing is lost and nothing doubled."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.journal import Journal, read_journal
from pipeline.core.paths import StudyPaths
from pipeline.tracking import background, deliver_champion, deliver_fold, deliver_report, download_model, follow
from pipeline.tracking.leaderboard import boards
from pipeline.tracking.store import Store
from tests.tracking.servers import MlflowServer, mlflow_server, postgres
from tests.tracking.studies import make_study, write_finished
from tests.tracking.test_champion import assert_predicts

pytestmark = [pytest.mark.server, pytest.mark.slow]
STEPS = 300


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tool: Any
) -> Iterator[MlflowServer]:
    folder = tmp_path_factory.mktemp("server")
    with ExitStack() as stack:
        backend = f"sqlite:///{folder / 'server.db'}"
        if request.param == "postgresql":
            pytest.importorskip("psycopg2", reason="needs psycopg2, which is not installed")
            backend = stack.enter_context(postgres(tool("initdb"), tool("postgres")))
        yield stack.enter_context(mlflow_server(backend, folder))


def write_steps(journal: Journal, steps: range) -> float:
    """Write steps as a training does; the longest that one of them took, in seconds."""
    longest = 0.0
    for step in steps:
        began = time.perf_counter()
        journal.write("step", step=step, loss=1 / (step + 1), learning_rate=1e-3, images_per_s=20.0)
        longest = max(longest, time.perf_counter() - began)
        time.sleep(0.01)
    return longest


def stored(paths: StudyPaths, name: str, at_least: int, seconds: float = 60) -> list[tuple[int, int]]:
    """(step, time) of each point of the loss that the server has, once there are enough."""
    store = Store.of(None, paths)
    points: list[tuple[int, int]] = []
    for _ in range(int(seconds * 2)):
        found = store.client.get_experiment_by_name(paths.study)
        runs = (
            store.client.search_runs([found.experiment_id], f"tags.role = 'fold' AND attributes.run_name = '{name}'")
            if found
            else []
        )
        if runs:
            history = store.client.get_metric_history(runs[0].info.run_id, "loss")
            points = [(point.step, point.timestamp) for point in history]
            if len(points) >= at_least:
                break
        time.sleep(0.5)
    return points


@pytest.mark.parametrize("back", ["while it trains", "for the next stage"])
def test_a_server_killed_in_the_middle_costs_no_point(
    server: MlflowServer, back: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, paths = make_study(tmp_path, f"chest-{back.split()[0]}")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setattr(background, "LAST", 120.0)
    monkeypatch.setattr(background, "FIRST", 0.0)
    monkeypatch.setattr(background, "INTERVAL", 0.1)
    monkeypatch.setattr(background, "SHARE", 1.0)
    path = paths.checkpoints("abc") / "journal.jsonl"
    said: list[str] = []
    with follow(study, paths, "unet", 0, path, said.append), Journal(path) as journal:
        journal.write("start", model="unet", fold=0, device="cpu")
        write_steps(journal, range(STEPS // 3))
        assert len(stored(paths, "unet · fold 0", 1)) >= 1
        server.kill()
        slowest = write_steps(journal, range(STEPS // 3, 2 * STEPS // 3))
        time.sleep(3)
        if back == "while it trains":
            server.start()
            assert len(stored(paths, "unet · fold 0", STEPS // 2)) >= STEPS // 2
        write_steps(journal, range(2 * STEPS // 3, STEPS))
        journal.write("end", step=STEPS, seconds=1.0, reason="done")
    assert slowest < 0.5
    assert any("does not answer" in line or "refused" in line for line in said)
    if back == "for the next stage":
        server.start()
        assert deliver_fold(study, paths, "unet", 0, said.append), said
    points = stored(paths, "unet · fold 0", STEPS)
    expected = [(e["step"], round(e["time"] * 1000)) for e in read_journal(path) if e["kind"] == "step"]
    assert sorted(points) == expected
    client = Store.of(study, paths).client
    experiment = client.get_experiment_by_name(paths.study)
    assert {run.info.status for run in client.search_runs([experiment.experiment_id])} == {"FINISHED"}


def test_champion_and_report_go_through_the_server(
    server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, paths = make_study(tmp_path, "served")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_finished(study, paths)
    said: list[str] = []
    for _ in range(2):
        assert deliver_champion(study, paths, said.append), said
        assert deliver_report(study, paths, said.append), said
    folder = download_model("models:/organseg-served@champion", tmp_path)
    assert tmp_path / "cache" in folder.parents
    assert (folder / "champion.yaml").read_bytes() == (paths.champion / "champion.yaml").read_bytes()
    assert_predicts("models:/organseg-served@champion", tmp_path)
    assert not (tmp_path / "results" / "mlflow.db").exists()
    assert not (tmp_path / "results" / "mlartifacts").exists()
    client = Store.of(study, paths).client
    assert len(client.search_model_versions("name = 'organseg-served'")) == 1
    assert str(client.get_model_version_by_alias("organseg-served", "champion").version) == "1"
    found, how = boards(None, tmp_path)
    assert how == server.uri
    assert "served" in {board.study for board in found}
