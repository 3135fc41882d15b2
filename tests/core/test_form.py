"""Results of another version are refused in one line, whichever command meets them."""

import json
from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.core.form import RESULTS, mark_results
from pipeline.core.paths import StudyPaths
from pipeline.core.study import load_study


@pytest.fixture
def paths(tmp_path: Path) -> StudyPaths:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "knee.yaml").write_text("modality: mri\norgans: [bone]\n")
    return StudyPaths("knee", tmp_path)


def test_results_are_marked_once_and_read_again(paths: StudyPaths) -> None:
    mark_results(paths)
    before = paths.form.stat().st_mtime_ns
    mark_results(paths)
    assert paths.form.stat().st_mtime_ns == before
    assert json.loads(paths.form.read_text()) == {"format": RESULTS}
    assert load_study("knee", paths.root).modality == "mri"


@pytest.mark.parametrize("found", ['{"format": 99}', "{}", "7", '{"format": "1"}'])
def test_another_version_is_refused_with_both_versions_and_a_remedy(paths: StudyPaths, found: str) -> None:
    paths.results.mkdir(parents=True)
    paths.form.write_text(found)
    with pytest.raises(InputError, match=f"reads version {RESULTS}") as raised:
        load_study("knee", paths.root)
    assert "move" in str(raised.value)
    assert str(paths.form) in str(raised.value)


def test_a_damaged_mark_is_said(paths: StudyPaths) -> None:
    paths.results.mkdir(parents=True)
    paths.form.write_text('{"form')
    with pytest.raises(InputError, match=r"format\.json"):
        load_study("knee", paths.root)
