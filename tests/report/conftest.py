"""Studies and pages that several tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import report
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from tests.report import studies


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, StudyPaths]:
    """A study of volumes with everything that a report can show."""
    study, paths = studies.make(tmp_path_factory.mktemp("finished"))
    studies.finish(study, paths)
    return study, paths


@pytest.fixture(scope="session")
def page(finished: tuple[Study, StudyPaths]) -> str:
    """Its report."""
    return report.build(*finished)


@pytest.fixture(scope="session")
def page_file(page: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its report as a file."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page, encoding="utf-8")
    return path
