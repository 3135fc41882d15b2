"""Where decoders written in C run: in this process, or, where their crash must not end it, in one that can be killed.

NIfTI and native DICOM, which Python, NumPy and zlib read, do not come here; nor does PNG, as the way through a worker
would cost a tenth of the throughput of small pictures. A worker that ingests decodes in
its own process, as it is one that can be killed; ``organseg predict``, whose process holds the model and all other
scans, has :func:`guarded`.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.arrays import LONG
from pipeline.core.limits import STARTING
from pipeline.core.scan import Array
from pipeline.formats.worker import KilledError, Worker

#: What a decoder gives: its array, and JSON values that belong to it.
Decoded = tuple[Array, dict[str, Any]]


class _Guard:
    """A worker that decodes for several threads, one call after the other.

    Args:
        seconds: Time that the decoders may take for one scan.
        memory_gib: Memory that a call may take.
    """

    def __init__(self, seconds: float, memory_gib: float) -> None:
        # A process with threads, as one with a model is, cannot be forked without danger. So the first worker starts
        # before there are any, and one that follows a crash starts anew.
        self.worker = Worker(seconds, memory_gib, replace="spawn")
        self.seconds = self.left = seconds
        self.turn = threading.Lock()
        self.up = sys.platform == "linux"
        if self.up:
            self.worker.start()

    def decode(self, function: str, arguments: Mapping[str, Any]) -> Decoded:
        """As :func:`decode`, in the worker."""
        with self.turn, tempfile.NamedTemporaryFile() as file:
            if not self.up:  # a fresh start takes its own time, not the scan's
                self.worker.call("pipeline.formats.decoders:ready", {}, STARTING)
                self.up = True
            request = {"function": function, "arguments": dict(arguments), "target": file.name}
            start = time.perf_counter()
            try:
                said = self.worker.call("pipeline.formats.decoders:answer", request, max(self.left, 0.01))
            except KilledError as error:
                self.up = False
                if time.perf_counter() - start < self.left:
                    raise
                raise KilledError(f"reading took longer than {self.seconds:g} s", remedy=error.remedy) from None
            finally:
                self.left -= time.perf_counter() - start
            count = int(np.prod(said["shape"]))
            kind = np.dtype(said["dtype"])
            if count * kind.itemsize > LONG:
                array: Array = np.memmap(file.name, kind, "r+", shape=tuple(said["shape"]))
            else:
                array = np.fromfile(file.name, kind, count).reshape(said["shape"])
            return array, said["facts"]


_guard: _Guard | None = None


@contextmanager
def guarded(seconds: float, memory_gib: float) -> Iterator[None]:
    """Decode in a worker for a while, in all threads; enter before there are threads.

    Args:
        seconds: Time that the decoders may take for one scan; see :func:`next_scan`.
        memory_gib: Memory that they may take for one.
    """
    global _guard
    before, _guard = _guard, _Guard(seconds, memory_gib)
    try:
        yield
    finally:
        _guard.worker.close()
        _guard = before


def next_scan() -> None:
    """Count the seconds of the decoders from zero again."""
    if _guard is not None:
        _guard.left = _guard.seconds


def decode(function: str, arguments: Mapping[str, Any]) -> Decoded:
    """Run a decoder where it can do no harm.

    Args:
        function: ``package.module:name`` of a function that gives an array and JSON values.
        arguments: JSON values.

    Raises:
        KilledError: It crashed, or took too long or too much memory, in a worker.
        InputError: The decoder raised it.
    """
    if _guard is not None:
        return _guard.decode(function, arguments)
    return _run(function, arguments)


def _run(function: str, arguments: Mapping[str, Any]) -> Decoded:
    module, _, name = function.partition(":")
    decoded: Decoded = getattr(importlib.import_module(module), name)(**arguments)
    return decoded


def ready() -> None:
    """In the worker: nothing but to be there."""


def answer(function: str, arguments: Mapping[str, Any], target: str) -> dict[str, Any]:
    """In the worker: decode, put the array into a file, and say its shape, its dtype and the rest."""
    array, facts = _run(function, arguments)
    with open(Path(target), "wb") as stream:
        np.ascontiguousarray(array).tofile(stream)
    return {"shape": list(array.shape), "dtype": array.dtype.str, "facts": facts}
