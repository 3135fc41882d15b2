"""The worker that can be killed: crash, hang and gluttony of a call end that call alone."""

import ctypes
import gc
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.formats.worker import KilledError, Worker


def whoami(say):
    return {"pid": os.getpid(), "said": say}


def crash():
    ctypes.string_at(0)


def abort():
    os.abort()


def hang():
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})
    time.sleep(600)


def gluttony(gib):
    held = [bytearray(2**27) for _ in range(gib * 8)]
    return len(held)


def refuse():
    raise InputError("this is wrong", where="here", remedy="Mend it.")


def odd():
    raise ZeroDivisionError


def deep():
    return deep()


def call(worker, name, **arguments):
    return worker.call(f"{__name__}:{name}", arguments)


@pytest.fixture(autouse=True)
def _reachable(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or __import__(__name__))


def test_one_process_serves_all_calls():
    with Worker(10, 1) as worker:
        answers = [call(worker, "whoami", say=word) for word in ("a", "b", "ü")]
    assert len({answer["pid"] for answer in answers}) == 1
    assert answers[0]["pid"] != os.getpid()
    assert [answer["said"] for answer in answers] == ["a", "b", "ü"]


def test_a_crash_is_told_and_the_next_call_is_served():
    with Worker(10, 1) as worker:
        with pytest.raises(KilledError, match="SIGSEGV"):
            call(worker, "crash")
        assert call(worker, "whoami", say=1)["said"] == 1


def die(marker, times):
    with open(marker, "a") as file:
        file.write(".")
    if os.path.getsize(marker) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return "read"


def test_what_is_killed_from_outside_is_tried_once_more(tmp_path):
    with Worker(10, 1) as worker:
        assert call(worker, "die", marker=str(tmp_path / "once"), times=1) == "read"
        with pytest.raises(KilledError, match=r"from outside, twice \(SIGKILL\).*fewer cores"):
            call(worker, "die", marker=str(tmp_path / "ever"), times=9)
        assert (tmp_path / "ever").read_text() == ".."


def test_a_hang_ends_at_the_limit():
    with Worker(0.5, 1) as worker:
        start = time.monotonic()
        with pytest.raises(KilledError, match=r"longer than 0.5 s"):
            call(worker, "hang")
        assert time.monotonic() - start < 3
        assert call(worker, "whoami", say=1)["said"] == 1


def test_memory_is_bounded():
    with Worker(20, 0.5) as worker:
        with pytest.raises(KilledError, match=r"more than 0\.5 GiB"):
            call(worker, "gluttony", gib=3)
        assert call(worker, "whoami", say=1)["said"] == 1


def test_errors_keep_their_words_and_the_process():
    with Worker(10, 1) as worker:
        pid = call(worker, "whoami", say=0)["pid"]
        with pytest.raises(InputError, match=r"here: this is wrong\. Mend it\.") as caught:
            call(worker, "refuse")
        assert caught.value.where == "here"
        with pytest.raises(InputError, match="ZeroDivisionError"):
            call(worker, "odd")
        with pytest.raises(InputError, match="nested too deeply"):
            call(worker, "deep")
        assert call(worker, "whoami", say=0)["pid"] == pid


def test_a_worker_without_its_caller_ends(tmp_path):
    """A caller killed by SIGKILL leaves no process behind."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        worker = Worker(60, 1)
        os.write(writing, str(call(worker, "whoami", say=0)["pid"]).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    orphan = int(os.read(reading, 32))
    for _ in range(50):
        try:
            state = Path(f"/proc/{orphan}/stat").read_text().split()[2]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the worker lives on")


def test_workers_started_side_by_side_tell_a_crash_at_once():
    """None of them holds an end of another's pipe, so that each sees its own child's end."""
    said = []

    def one(barrier):
        with Worker(20, 1) as worker:
            barrier.wait()
            start = time.monotonic()
            with pytest.raises(KilledError, match="SIGABRT"):
                call(worker, "abort")
            said.append(time.monotonic() - start)

    for _ in range(5):
        barrier = threading.Barrier(4)
        threads = [threading.Thread(target=one, args=(barrier,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(said) == 20
    assert max(said) < 15


class _Library:
    """Has threads of its own, say, and waits for them when it is destroyed: in a forked process they do not exist."""

    def __init__(self, told: Path) -> None:
        self.told, self.itself = told, self  # a cycle, which waits to be collected

    def __del__(self) -> None:
        with open(self.told, "a") as stream:
            stream.write(f"{os.getpid()}\n")


def collect() -> int:
    """What a long call does sooner or later by itself."""
    gc.collect()
    return os.getpid()


def test_what_waits_to_be_collected_is_not_destroyed_in_the_worker(tmp_path: Path) -> None:
    """A session of ONNX Runtime hung there for good, and good scans were rejected for their time."""
    told = tmp_path / "told"
    gc.collect()
    gc.disable()
    try:
        _Library(told)
        with Worker(20, 1) as worker:
            assert worker.call(f"{__name__}:collect", {}) != os.getpid()
        assert not told.exists()
    finally:
        gc.enable()
    gc.collect()
    assert told.read_text().split() == [str(os.getpid())]
    assert gc.isenabled()
