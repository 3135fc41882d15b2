"""Decoders in a worker give what they give here, and their end is not ours."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.core.errors import InputError
from pipeline.core.study import Ingest
from pipeline.formats import decoders
from pipeline.formats.decoders import Decoded, decode, guarded, next_scan
from pipeline.formats.pictures.reader import read_pixels
from pipeline.formats.worker import KilledError


def ramp(size: int) -> Decoded:
    return np.arange(size, dtype=np.int16).reshape(2, -1).T, {"process": os.getpid()}


def crash() -> Decoded:
    os.abort()


def sleep(seconds: float) -> Decoded:
    time.sleep(seconds)
    return np.zeros(1), {}


def refuse() -> Decoded:
    raise InputError("this is wrong", remedy="Mend it.")


def own(name: str) -> str:
    return f"{__name__}:{name}"


@pytest.fixture(autouse=True)
def _reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or __import__(__name__))
    # A worker that is started anew does not know this module.
    monkeypatch.setattr(decoders, "Worker", lambda *limits, replace: Worker(*limits))


Worker = decoders.Worker


@pytest.mark.parametrize("long", [1 << 28, 0], ids=["read", "mapped"])
def test_the_same_here_and_there(monkeypatch: pytest.MonkeyPatch, long: int) -> None:
    monkeypatch.setattr(decoders, "LONG", long)
    here, facts = decode(own("ramp"), {"size": 6})
    assert facts["process"] == os.getpid()
    with guarded(10, 1):
        there, facts = decode(own("ramp"), {"size": 6})
    assert facts["process"] != os.getpid()
    assert isinstance(there, np.memmap) == (long == 0)
    assert there.dtype == here.dtype
    np.testing.assert_array_equal(there, here)


def test_a_crash_and_a_refusal_are_told_and_the_next_is_served() -> None:
    with guarded(10, 1):
        with pytest.raises(KilledError, match="SIGABRT"):
            decode(own("crash"), {})
        with pytest.raises(InputError, match=r"this is wrong\. Mend it\."):
            decode(own("refuse"), {})
        assert decode(own("ramp"), {"size": 2})[0].size == 2


def test_the_time_is_that_of_a_scan() -> None:
    with guarded(1.0, 1):
        decode(own("sleep"), {"seconds": 0.6})
        with pytest.raises(KilledError, match="longer than 1 s"):
            decode(own("sleep"), {"seconds": 0.6})
        next_scan()
        decode(own("sleep"), {"seconds": 0.6})


def test_a_fresh_process_serves_after_a_crash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a process with threads, which is not forked again."""
    monkeypatch.setattr(decoders, "Worker", Worker)
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "a.png")
    with guarded(30, 2):
        with pytest.raises(KilledError, match="SIGABRT"):
            decode(own("crash"), {})
        pixels = read_pixels(tmp_path / "a.png", Ingest())
    np.testing.assert_array_equal(pixels[..., 0], np.arange(64).reshape(8, 8))
