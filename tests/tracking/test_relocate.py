"""Results that were moved: their runs, figures and models are found where they lie now."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.tracking import deliver_champion, deliver_report, download_model
from pipeline.tracking.leaderboard import boards
from pipeline.tracking.store import Store
from pipeline.tracking.store_sqlite import relocate
from tests.tracking.studies import make_study, write_finished

Made = tuple[Study, StudyPaths]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Made]:
    """A delivered study whose folder's name has a blank and a letter that addresses spell otherwise."""
    root = tmp_path_factory.mktemp("first place") / "Zürich"
    (root / "results").mkdir(parents=True)
    shutil.copy(empty_store, root / "results" / "mlflow.db")
    study, paths = make_study(root)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "ORGANSEG_TRACKING"):
            patch.delenv(name, raising=False)
        write_finished(study, paths)
        said: list[str] = []
        assert deliver_champion(study, paths, said.append), said
        assert deliver_report(study, paths, said.append), said
        yield study, paths


@pytest.fixture
def moved(original: Made, tmp_path: Path) -> Iterator[Made]:
    """The study in another place, and nothing left in the first one."""
    from mlflow.tracking._tracking_service import utils

    study, paths = original
    away, place = paths.root.with_name("away"), tmp_path / "second [place]"
    shutil.copytree(paths.root, place)
    paths.root.rename(away)
    # MLflow remembers the places of runs; another process, as it is after a move, does not.
    utils._artifact_repos_cache.clear()
    yield study, StudyPaths(paths.study, place)
    away.rename(paths.root)


def places(root: Path) -> list[str]:
    """Every address of a file that the store holds, but for the experiment that MLflow makes for itself."""
    with sqlite3.connect(root / "results" / "mlflow.db") as connection:
        found = [
            str(row[0])
            for table, column in (
                ("experiments", "artifact_location"),
                ("runs", "artifact_uri"),
                ("logged_models", "artifact_location"),
                ("model_versions", "storage_location"),
            )
            for row in connection.execute(f"SELECT {column} FROM {table}")
        ]
    connection.close()
    return [address for address in found if "mlartifacts" in address]


def test_artifacts_and_champion_are_found_in_the_new_place(moved: Made) -> None:
    study, paths = moved
    said: list[str] = []
    store = Store.of(study, paths, said.append)
    run = next(run for run in store.client.search_runs(["1"]) if run.data.tags["role"] == "champion")
    with store.current():
        report = store.client.download_artifacts(run.info.run_id, "report.html", str(paths.root))
    assert Path(report).read_text() == "<h1>Report</h1>"
    folder = download_model("models:/organseg-chest@champion", paths.root)
    assert paths.root in folder.parents
    assert (folder / "champion.yaml").read_bytes() == (paths.champion / "champion.yaml").read_bytes()
    with store.current() as mlflow:
        assert mlflow.pyfunc.load_model("models:/organseg-chest@champion") is not None
    assert len(places(paths.root)) >= 6
    assert all(address.startswith((paths.root / "results" / "mlartifacts").as_uri()) for address in places(paths.root))
    assert said == [f"tracking: the store was moved here; its files are looked for in {paths.root}/results/mlartifacts"]


def test_a_stage_goes_on_in_the_new_place(moved: Made) -> None:
    study, paths = moved
    paths.report.write_text("<h1>New report</h1>")
    said: list[str] = []
    assert deliver_report(study, paths, said.append), said
    assert "the store was moved here" in said[0]
    reports = [p.read_text() for p in (paths.root / "results" / "mlartifacts").rglob("report.html")]
    assert reports == ["<h1>New report</h1>"]
    again: list[str] = []
    assert deliver_report(study, paths, again.append)
    (board,), _ = boards(None, paths.root, again.append)
    assert (board.study, again) == ("chest", [])


def test_a_copy_keeps_to_itself_and_the_original_is_left_alone(original: Made, tmp_path: Path) -> None:
    study, paths = original
    before = places(paths.root)
    shutil.copytree(paths.root, tmp_path / "copy")
    copy = StudyPaths(paths.study, tmp_path / "copy")
    assert Store.of(study, copy).client is not None
    assert all(str(tmp_path / "copy") in address for address in places(copy.root))
    assert places(paths.root) == before


def test_without_the_files_the_old_place_is_kept(original: Made, tmp_path: Path) -> None:
    study, paths = original
    (tmp_path / "results").mkdir()
    shutil.copy(paths.root / "results" / "mlflow.db", tmp_path / "results")
    said: list[str] = []
    assert Store.of(study, StudyPaths(paths.study, tmp_path), said.append).client is not None
    assert places(tmp_path) == places(paths.root)
    assert said == []


def test_a_store_elsewhere_is_not_touched(original: Made, tmp_path: Path) -> None:
    """A SQLite file that the user named may serve several folders; none of them owns the others' files."""
    study, paths = original
    shutil.copytree(paths.root, tmp_path / "project")
    other: Any = tmp_path / "shared.db"
    shutil.move(tmp_path / "project" / "results" / "mlflow.db", other)
    named = study.model_copy(update={"tracking": study.tracking.model_copy(update={"uri": f"sqlite:///{other}"})})
    store = Store.of(named, StudyPaths(paths.study, tmp_path / "project"))
    assert str(paths.root.as_uri()) in store.client.get_experiment("1").artifact_location


def test_killed_in_between_nothing_is_half_moved(moved: Made) -> None:
    _, paths = moved
    file = paths.root / "results" / "mlflow.db"
    with sqlite3.connect(file) as connection:
        connection.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE OF artifact_location ON logged_models "
            "BEGIN SELECT RAISE(ABORT, 'the lights went out'); END"
        )
    connection.close()
    before = places(paths.root)
    with pytest.raises(sqlite3.Error, match="lights"):
        relocate(file, paths.root / "results" / "mlartifacts")
    assert places(paths.root) == before
