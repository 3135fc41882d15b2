"""Writes down how busy a training keeps its machine, as a journal of its own, so that delivery can be repeated."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.core.journal import Journal, read_journal

INTERVAL = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class LoadRecorder:
    """A thread that samples a process and its children while the ``with`` block runs.

    Args:
        path: Journal to append to.
        process: Id of the process.
        interval: Seconds between two samples.
    """

    def __init__(self, path: Path, process: int, interval: float = INTERVAL) -> None:
        self.path = path
        self.process = process
        self.interval = interval
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._record, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(timeout=5)

    def _record(self) -> None:
        step = sum(1 for _ in read_journal(self.path))
        before = processor_seconds(self.process)
        with Journal(self.path) as journal:
            while not self._done.wait(self.interval):
                if not Path(f"/proc/{self.process}").exists():
                    return
                now = processor_seconds(self.process)
                sample = {
                    "processor_percent": round(100 * max(now - before, 0) / self.interval, 1),
                    "memory_gib": round(memory_gib(self.process), 3),
                    **graphics_load(),
                }
                journal.write("system", step=step, **sample)
                before, step = now, step + 1


def family(process: int) -> list[int]:
    """A process and its descendants."""
    found = [process]
    for member in found:
        try:
            tasks = list(Path(f"/proc/{member}/task").iterdir())
            for task in tasks:
                found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    # Our own follower is a child of the training, and no part of its load.
    return [member for member in found if member != os.getpid()]


def processor_seconds(process: int) -> float:
    """Processor time that a process and its living descendants took, in seconds; 0 when it is gone."""
    total = 0.0
    for member in family(process):
        try:
            # The command's name may hold blanks and brackets; the fields start behind its last bracket.
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total


def memory_gib(process: int) -> float:
    """Resident memory of a process and its descendants in GiB; shared pages count for each."""
    pages = 0
    for member in family(process):
        try:
            pages += int(Path(f"/proc/{member}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
    return pages * _PAGE / 2**30


def graphics_load() -> dict[str, float]:
    """Utilisation and memory of the graphics cards, summed, where NVIDIA's tool is there to ask."""
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
