"""Locks end with their process, waits are said, and a wait with a limit ends with a remedy."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.core import locks
from pipeline.core.errors import TryAgainError
from pipeline.core.locks import hold, hold_for_good, hold_if_free, hold_one

HOLDER = (
    "import sys; from pathlib import Path; from pipeline.core.locks import hold\n"
    "with hold(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()\n"
)


@contextmanager
def held_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lock until it is told to end."""
    words = [sys.executable, "-c", HOLDER, str(path)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.communicate("")


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    path, said = tmp_path / "l.lock", list[str]()
    with held_elsewhere(path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with hold(path, said.append, limit=0):
            assert said == []


def test_a_wait_is_said_once_and_ends_when_the_other_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, said, looks = tmp_path / "work.lock", list[str](), iter(range(1000))
    monkeypatch.setattr(locks, "SILENCE", 0.0)
    with held_elsewhere(path) as process:

        def look(seconds: float) -> None:
            if next(looks) == 3:
                process.communicate("")

        monkeypatch.setattr(locks.time, "sleep", look)
        with hold(path, said.append):
            pass
    assert said == ["waiting for another process that is at the same work (work)"]


def test_a_short_wait_is_not_worth_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, said = tmp_path / "work.lock", list[str]()
    with held_elsewhere(path) as process:
        monkeypatch.setattr(locks.time, "sleep", lambda seconds: process.communicate(""))
        with hold(path, said.append):
            assert said == []


def test_a_wait_with_a_limit_ends_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "work.lock"
    with held_elsewhere(path):
        with pytest.raises(TryAgainError, match="another process") as caught, hold(path, limit=0.3):
            raise AssertionError("it was held")
        assert caught.value.exit_code == 75
        assert "run this again" in str(caught.value)


def test_the_first_free_of_several(tmp_path: Path) -> None:
    cards = [tmp_path / "a.lock", tmp_path / "b.lock"]
    with held_elsewhere(cards[0]), hold_one(cards) as taken:
        assert taken == 1
        with pytest.raises(TryAgainError, match="one of 2"), hold_one(cards, limit=0.1):
            raise AssertionError("none was free")


def test_a_lock_that_is_taken_only_if_free(tmp_path: Path) -> None:
    path = tmp_path / "l.lock"
    with hold_if_free(path) as held:
        assert held
    with held_elsewhere(path), hold_if_free(path) as held:
        assert not held
        assert not hold_for_good(path)


def test_a_lock_for_good_is_held_until_the_process_ends(tmp_path: Path) -> None:
    path = tmp_path / "study.lock"
    code = (
        "import sys; from pathlib import Path; from pipeline.core.locks import hold_for_good\n"
        "assert hold_for_good(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", code, str(path)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    assert not hold_for_good(path)
    process.communicate("")
    with hold(path, limit=0):
        pass
