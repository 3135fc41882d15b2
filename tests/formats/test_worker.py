"""The worker that can be killed: crash, hang and gluttony of a call end that call alone."""

import ctypes
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
