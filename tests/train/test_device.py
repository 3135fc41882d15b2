"""Which device a training takes: one card each, and a name that is wrong is said to be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.core.errors import InputError
from pipeline.core.locks import hold_one
from pipeline.train import device as machine

HOLD = """
import sys
from pathlib import Path
from pipeline.core.locks import hold_one

with hold_one([Path(name) for name in sys.argv[1:]], every=0.05) as taken:
    print(taken, flush=True)
    sys.stdin.read()
"""


def holder(paths: list[Path]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", HOLD, *map(str, paths)], stdin=pipe, stdout=pipe, text=True)


def test_two_trainings_take_a_card_each_and_a_third_waits(tmp_path: Path) -> None:
    cards = [tmp_path / "cards" / f"{name}.lock" for name in "ab"]
    first = holder(cards)
    assert first.stdout is not None
    assert first.stdin is not None
    assert first.stdout.readline() == "0\n"
    said: list[str] = []
    with hold_one(cards, said.append) as second:
        assert second == 1
        third = holder(cards)
        assert third.stdout is not None
        # Killed, the first leaves its card to the third.
        first.kill()
        assert third.stdout.readline() == "0\n"
        third.communicate("")
    first.communicate()
    assert said == []


def test_without_a_card_it_is_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with machine.chosen_device(machine.World()) as chosen:
        assert chosen == torch.device("cpu")


def test_folds_side_by_side_are_on_different_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(machine, "_card_locks", lambda: [tmp_path / "a.lock", tmp_path / "b.lock"])
    with machine.chosen_device(machine.World()) as one, machine.chosen_device(machine.World()) as other:
        assert {one, other} == {torch.device("cuda", 0), torch.device("cuda", 1)}


@pytest.mark.parametrize("name", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(InputError, match="there is no device"), machine.chosen_device(machine.World(), name):
        pass
