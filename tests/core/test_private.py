"""Results are their owner's alone, or a group's."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.core.errors import InputError
from pipeline.core.private import keep_to_owner, protect


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_nobody_else_reads_results(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "s"
    folder.mkdir(parents=True)
    assert mode(folder) == 0o777
    keep_to_owner()
    said: list[str] = []
    protect(folder, say=said.append)
    protect(folder, say=said.append)
    protect(folder.parent / "new", say=said.append)
    assert len(said) == 1, "said once, of what was open before"
    assert "readable by you alone" in said[0]
    (folder / "a").write_text("x")
    (folder / "b").mkdir()
    assert (mode(folder), mode(folder / "a"), mode(folder / "b")) == (0o700, 0o600, 0o700)


def test_a_group_may_read(tmp_path: Path) -> None:
    grp = pytest.importorskip("grp")
    own = grp.getgrgid(os.getgid()).gr_name
    folder = tmp_path / "s"
    keep_to_owner()
    protect(folder, own)
    (folder / "a").write_text("x")
    (folder / "b").mkdir()
    assert (mode(folder), mode(folder / "a"), mode(folder / "b") & 0o777) == (0o2750, 0o640, 0o750)
    assert (folder / "a").stat().st_gid == os.getgid()
    with pytest.raises(InputError, match="no group"):
        protect(folder, "nobody-has-such-a-group")


def test_a_command_leaves_private_files(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "s.yaml").write_text("modality: xray\norgans: [heart]\ningest: {shards: 1}\n")
    (tmp_path / "data_manifests").mkdir()
    (tmp_path / "data_manifests" / "s.csv").write_text("scan_id,patient_id,image\na,p,a.png\n")
    (tmp_path / "data").mkdir()
    Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20)).save(tmp_path / "data" / "a.png")
    done = subprocess.run(
        [sys.executable, "-m", "organseg", "ingest", "--study", "s"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "ORGANSEG_DATA": "data"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = [tmp_path / "results", *(tmp_path / "results").rglob("*")]
    assert len(written) > 4
    assert {path: oct(mode(path)) for path in written if mode(path) & 0o077} == {}
