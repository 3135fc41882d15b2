"""Files that once made a reader fail are read or refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import InputError
from tests.fuzz.__main__ import CORPUS, fuzz, trial
from tests.fuzz.targets import TARGETS

KEPT = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_failed_is_read_or_refused(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    shutil.copyfile(path, copy)
    assert trial(path.parent.name, str(copy))["ended"] in {"read", "refused"}


@pytest.mark.parametrize("name", TARGETS)
def test_whole_files_are_read(name: str, tmp_path: Path) -> None:
    """Seeds that were refused would fuzz nothing but the first check."""
    read = 0
    for number, (ending, raw) in enumerate(TARGETS[name].seeds()):
        path = tmp_path / f"{number}.{ending}"
        path.write_bytes(raw)
        try:
            TARGETS[name].run(path)
        except InputError:
            continue
        read += 1
    assert read >= 1


def test_a_fault_is_found_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.fuzz import targets

    broken = targets.Target(lambda path: np.zeros(1)[path.stat().st_size + 1], targets.manifest_seeds)
    monkeypatch.setattr("tests.fuzz.__main__.TARGETS", {"manifest": broken})
    counts = fuzz(0.02, 0, tmp_path)
    assert counts["failed"] > 0
    assert any((tmp_path / "manifest").iterdir())
