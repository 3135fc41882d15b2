"""One SQLite store that is copied for each test, and no store of the user's touched."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from tests.tracking.studies import make_study


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with its tables and nothing in them, to be copied: making one takes seconds."""
    from pipeline.tracking.store import Store

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    Store(f"sqlite:///{file}", file.parent / "mlartifacts").client.search_experiments(max_results=1)
    return file


@pytest.fixture
def make(tmp_path: Path, empty_store: Path) -> Callable[..., tuple[Study, StudyPaths]]:
    """Make a study whose default store is there already."""
    (tmp_path / "results").mkdir()
    shutil.copy(empty_store, tmp_path / "results" / "mlflow.db")

    def made(name: str = "chest", **changes: Any) -> tuple[Study, StudyPaths]:
        return make_study(tmp_path, name, **changes)

    return made


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No store of the user's is written to by a test."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "ORGANSEG_TRACKING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("DO_NOT_TRACK", "true")
