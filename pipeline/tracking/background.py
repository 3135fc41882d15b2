"""Delivers a training's journal to MLflow while the training runs, from a thread of its process.

The journal holds everything, so this thread may be late, stop, or be killed with the training: the next delivery ends
in the same run. Loading MLflow takes some three seconds of Python's global lock, and that is why the thread waits for
:data:`FIRST` seconds of training, and takes no more than :data:`SHARE` of its time afterwards. A shorter training is
delivered when it ends.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from pipeline.core.journal import Journal, read_journal
from pipeline.core.locks import SILENCE
from pipeline.core.paths import StudyPaths
from pipeline.core.say import Say, quiet
from pipeline.core.study import Study
from pipeline.tracking import env, jobs
from pipeline.tracking.delivery import Delivery
from pipeline.tracking.store import Store, TrackingError, check_reach, shown, store_uri, take_turn
from pipeline.tracking.tree import StudyRuns

#: Seconds of training before MLflow is loaded: that and the first delivery take six of them, less than 2 %.
FIRST = 360.0
#: The thread's processor time, of the training's time, between two deliveries.
SHARE = 0.01
#: Seconds between two looks at the machine's load, and at least between two deliveries.
INTERVAL = 10.0
#: Seconds that a training which has ended waits for its last points to be delivered; one that was stopped, by a person
#: or by the machine's scheduler, has little time left.
LAST = 60.0
LAST_OF_STOPPED = 5.0


@contextmanager
def follow(
    study: Study, paths: StudyPaths, model: str, fold: int, journal_path: Path, say: Say = quiet
) -> Iterator[None]:
    """Deliver a training's journal to MLflow in the background while the block runs, and the rest at its end.

    No trouble with MLflow reaches the training; it is said, and the journal keeps what could not be delivered.

    Args:
        study: The study.
        paths: Its places.
        model: The model that is trained.
        fold: Its validation fold.
        journal_path: The journal that the training writes; it need not be there yet.
        say: Takes lines for the user.

    Raises:
        InputError: ``ORGANSEG_TRACKING=required`` and the server does not answer, before the block begins.
    """
    if env.mode() == "offline":
        yield
        return
    reason = check_reach(study, paths)
    if reason is not None:
        say(
            f"tracking: the MLflow server at {shown(store_uri(study, paths.root))} does not answer ({reason}); going "
            "on without it. The journal keeps all and is delivered when the server is back or with the next stage"
        )
    sender = None
    try:
        job = jobs.open_job(study, paths, model, fold, journal_path)
        sender = _Sender(study, paths, job, journal_path, say)
    except Exception as error:
        say(f"tracking: not followed ({error}); a later stage delivers the journal")
    outcome = "FAILED"
    try:
        yield
        outcome = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        outcome = "KILLED"
        raise
    finally:
        if sender is not None:
            sender.end(outcome)


class _Sender:
    """The thread, and the training's hold on it."""

    def __init__(self, study: Study, paths: StudyPaths, job: jobs.Record, journal: Path, say: Say) -> None:
        self.paths = paths
        self.job = job
        self.journal = journal
        self.say = say
        self.store = Store.of(study, paths, self._tell)
        self.runs = StudyRuns(self.store, study, paths)
        self._lines: dict[str, None] = {}
        self._outcome: str | None = None
        self._ended = threading.Event()
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def _tell(self, line: str) -> None:
        """Keep a line for the end, once: the training's own lines and its progress are not torn."""
        self._lines[line] = None

    def end(self, outcome: str) -> None:
        """Tell how the training ended, wait a while for the last delivery, and say what the thread had to say."""
        try:
            jobs.update_job(self.paths, self.job["key"], outcome=outcome)
        except Exception as error:
            self._tell(f"tracking: {error}")
        self._outcome = outcome
        limit = LAST_OF_STOPPED if outcome == "KILLED" else LAST
        self._ended.set()
        self._thread.join(min(SILENCE, limit))
        if self._thread.is_alive() and limit > SILENCE:
            self.say(f"tracking: waiting for MLflow to take the last points, for {limit:.0f} seconds at most")
            self._thread.join(limit - SILENCE)
        self._leave.set()
        for line in list(self._lines):
            self.say(line)
        if self._thread.is_alive():
            self.say("tracking: what MLflow has not taken yet is delivered with the next stage")

    def _work(self) -> None:
        try:
            with take_turn(jobs.lock_path(self.paths, self.job["key"]), self._tell):
                self._follow()
        except TrackingError as error:
            self._tell(f"tracking: {error}; the next stage delivers the rest")
        except Exception as error:
            self._tell(f"tracking: stopped ({type(error).__name__}: {str(error)[:300]}); the next stage delivers it")

    def _follow(self) -> None:
        delivery = Delivery(self.runs, self.job, self.journal)
        system = jobs.system_journal(self.paths, self.job["key"])
        step = sum(1 for _ in read_journal(system))
        load, due, resumed = Load(), time.monotonic() + FIRST, False
        with Journal(system) as journal:
            while not self._ended.wait(INTERVAL):
                journal.write("system", step=step, **load.sample())
                step += 1
                if time.monotonic() < due:
                    continue
                began = time.thread_time()
                try:
                    resumed = resumed or delivery.resume()
                    delivery.send()
                except TrackingError as error:
                    self._tell(f"tracking: {error}")
                due = time.monotonic() + (time.thread_time() - began) / SHARE
        self._finish(delivery, loaded=resumed)

    def _finish(self, delivery: Delivery, loaded: bool) -> None:
        """Deliver the rest; a store that is away is asked again, a server just once."""
        if self._outcome == "KILLED" and not loaded:
            raise TrackingError("the training was stopped before MLflow was loaded")
        while True:
            try:
                delivery.finish(self._outcome)
                self.store.flush()
                return
            except TrackingError:
                if self.store.file is None or self._leave.wait(1):
                    raise


class Load:
    """How busy this process and its children keep the machine, since the sample before."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._before = self._measure()[0], time.monotonic()

    def sample(self) -> dict[str, float]:
        """Processor in per cent of one core, resident memory in GiB (shared pages count for each process), GPUs."""
        seconds, memory = self._measure()
        (before, then), now = self._before, time.monotonic()
        self._before = seconds, now
        percent = 100 * max(seconds - before, 0) / max(now - then, 1e-3)
        return {"processor_percent": round(percent, 1), "memory_gib": round(memory / 2**30, 3), **graphics_load()}

    def _measure(self) -> tuple[float, int]:
        """Processor seconds and bytes of memory; a child that ends in between counts for nothing."""
        seconds, memory = 0.0, 0
        for process in (self._process, *self._process.children(recursive=True)):
            try:
                times = process.cpu_times()
                seconds, memory = seconds + times.user + times.system, memory + process.memory_info().rss
            except psutil.Error:
                continue
        return seconds, memory


def graphics_load() -> dict[str, float]:
    """Utilisation in per cent and memory of the graphics cards, summed, where NVIDIA's tool is there to ask."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    query = ["--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run([tool, *query], capture_output=True, text=True, timeout=5, check=True)
        cards = [[float(cell) for cell in line.split(",")] for line in done.stdout.splitlines()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
    return {"gpu_percent": sum(c[0] for c in cards), "gpu_memory_gib": round(sum(c[1] for c in cards) / 1024, 3)}
