"""Follows a training's journal and delivers it while the training runs.

The follower is a process of its own, at low priority: importing MLflow takes seconds of processor and of Python's
global lock, which a training has better use for. It ends by itself when the training does, however that ends. Where the
training takes all processors, its points come late.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pipeline
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.tracking import env, jobs
from pipeline.tracking.store import check_reach, shown, store_uri

Say = Callable[[str], None]
#: Seconds between two looks at the journal, and between two tries at a store that is away.
POLL = 2.0
RETRY = 10.0
#: What a training that has ended waits for its last points to be delivered: a share of its time, within bounds in
#: seconds. Then they are delivered behind it; the follower leaves them to the next stage after LAST_TRY seconds.
LAST_SHARE = 0.01
SHORTEST_WAIT = 0.5
LONGEST_WAIT = 10.0
LAST_TRY = 60.0
#: The lowest priority: where all processors are taken, it leaves the training 98.5 % of the one that they share.
NICENESS = 19
AUTOGROUP = Path("/proc/self/autogroup")


@contextmanager
def follow(
    study: Study, paths: StudyPaths, model: str, fold: int, journal_path: Path, say: Say = lambda line: None
) -> Iterator[None]:
    """Deliver a training's journal to MLflow in the background while the block runs, and the rest at its end.

    No trouble with MLflow reaches the training; it is said, and the journal keeps what could not be delivered.

    Args:
        study: The study.
        paths: Its places.
        model: The model that is trained.
        fold: Its validation fold.
        journal_path: The journal that the training writes; it need not be there yet.
        say: Told what the user should know.

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
    follower = None
    try:
        follower = _Follower(study, paths, model, fold, journal_path)
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
        if follower is not None:
            follower.end(outcome, say)


class _Follower:
    """The training's end of the follower process."""

    def __init__(self, study: Study, paths: StudyPaths, model: str, fold: int, journal: Path) -> None:
        self.paths = paths
        self.began = time.monotonic()
        self.key = jobs.open_job(study, paths, model, fold, journal)["key"]
        home = str(Path(pipeline.__file__).resolve().parent.parent)
        search = os.pathsep.join(part for part in (home, os.environ.get("PYTHONPATH", "")) if part)
        # The address travels in the environment, since it may hold a password and others can read command lines.
        environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": store_uri(study, paths.root),
            "PYTHONPATH": search,
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        words = [paths.study, str(paths.root.resolve()), self.key, str(os.getpid()), str(NICENESS)]
        # A session of its own: what kills the training's group leaves the follower to mark the run as killed.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.tracking.follower", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )

    def end(self, outcome: str, say: Say) -> None:
        """Tell how the training ended, wait a while for the last delivery, and pass on what the follower said."""
        output = b""
        try:
            jobs.close_job(self.paths, self.key, outcome)
            elapsed = time.monotonic() - self.began
            wait = max(min(LAST_SHARE * elapsed, LONGEST_WAIT), SHORTEST_WAIT)
            output, _ = self.process.communicate(timeout=wait)
        except subprocess.TimeoutExpired as error:
            output = error.output or b""
            say("tracking: the last points are delivered in the background, or else with the next stage")
        except Exception as error:
            say(f"tracking: {error}")
        for line in dict.fromkeys(output.decode(errors="replace").splitlines()):
            say(line)


def run(study: str, root: Path, key: str, training: int) -> None:
    """The follower process: deliver until the training is gone, then the rest.

    Args:
        study: Name of the study.
        root: Folder that holds ``results``.
        key: The job.
        training: Process id of the training, whose load is recorded.
    """
    from pipeline.tracking.delivery import Delivery
    from pipeline.tracking.load import LoadRecorder
    from pipeline.tracking.store import Store, TrackingError

    paths = StudyPaths(study, root)
    with jobs.lock_job(paths, key, wait=True):
        job = jobs.read_job(paths, key)
        said: set[str] = set()
        artifacts = root / "results" / "mlartifacts"
        store = Store(os.environ["MLFLOW_TRACKING_URI"], artifacts, lambda line: _tell(line, said))
        delivery = Delivery(store, paths, job, paths.results / job["journal"])
        resumed = False
        wait = POLL

        def deliver(final: bool) -> bool:
            nonlocal resumed
            try:
                if final:
                    delivery.finish(jobs.read_job(paths, key)["outcome"] or "KILLED")
                else:
                    if not resumed and delivery.first() is not None:
                        delivery.resume()
                        resumed = True
                    delivery.send()
                return True
            except TrackingError as error:
                _tell(f"tracking: {error}", said)
                return False

        with LoadRecorder(jobs.system_journal(paths, key), training):
            while not _gone(wait):
                wait = POLL if deliver(final=False) else RETRY
        deadline = time.monotonic() + LAST_TRY
        while not deliver(final=True):
            if time.monotonic() > deadline or store.file is None:
                # A server that was just asked in vain is left to the next stage; nobody waits for it here.
                _tell("tracking: what is missing is delivered with the next stage", said)
                return
            time.sleep(1)
        store.flush()


def _gone(seconds: float) -> bool:
    """Wait; whether the training closed its end of the pipe, or died, in the meantime."""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(ready) and os.read(sys.stdin.fileno(), 1) == b""


def _tell(line: str, said: set[str]) -> None:
    """Say a line once to the training, which may be gone."""
    if line not in said:
        said.add(line)
        with contextlib.suppress(OSError):
            print(line, flush=True)


def step_aside(niceness: int) -> None:
    """Give this process, the first of its session, a low priority."""
    os.nice(niceness)
    # Many kernels share processors between sessions first: there, niceness counts within a session alone.
    for _ in range(10):
        try:
            AUTOGROUP.write_text(str(niceness))
            return
        except BlockingIOError:
            # The kernel takes one such change in a tenth of a second, from all processes together.
            time.sleep(0.1 + 0.1 * random.random())
        except OSError:
            # A kernel that does not share by sessions.
            return


def main(words: list[str]) -> None:
    """Entry point of the follower process."""
    study, root, key, training, niceness = words
    step_aside(int(niceness))
    env.prepare()
    try:
        run(study, Path(root), key, int(training))
    except Exception as error:
        # The training prints it; a traceback would go nowhere.
        with contextlib.suppress(OSError):
            print(f"tracking: the follower stopped ({type(error).__name__}: {str(error)[:300]})", flush=True)
    # The training waits for this process to end; taking MLflow's modules down would cost it a quarter of a second.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
