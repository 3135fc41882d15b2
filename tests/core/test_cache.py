"""The cache is where the user says, and a home that cannot be written is no hindrance."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.cache import cached, writable


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORGANSEG_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cached("models", "a") == tmp_path / ".cache" / "organseg" / "models" / "a"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cached("a") == tmp_path / "x" / "organseg" / "a"
    monkeypatch.setenv("ORGANSEG_CACHE", str(tmp_path / "o"))
    assert cached("a") == tmp_path / "o" / "a"
    assert writable(cached("b", "a")) == tmp_path / "o" / "b" / "a"
    assert (tmp_path / "o" / "b").is_dir()


def test_where_it_cannot_be_written_a_folder_serves_that_ends_with_the_process(tmp_path: Path) -> None:
    # Nothing can be made below a device, whoever asks.
    script = (
        "from pipeline.core.cache import cached, writable\n"
        "place = writable(cached('models', 'a')); place.mkdir(); (place / 'f').touch(); print(place)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"ORGANSEG_CACHE": "/dev/null", "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()).is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == []
