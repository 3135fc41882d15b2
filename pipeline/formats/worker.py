"""A process that can be killed: decoders written in C may crash, hang or swallow memory on a damaged file."""

from __future__ import annotations

import faulthandler
import gc
import importlib
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Literal, Self

from pipeline.core.errors import InputError, TryAgainError, for_the_user
from pipeline.core.limits import GRACE, limit_memory

#: Two forks at once would inherit each other's pipes, and neither would see the other's end. A start also asks after
#: every other child of this process, and one that another thread waits for would have no exit code for it.
_CHILDREN = threading.Lock()
#: How the system ends a process for want of memory, or a person does; no decoder ends itself so.
FROM_OUTSIDE = frozenset(
    getattr(signal, name) for name in ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)
)


class KilledError(InputError):
    """The worker crashed, or was killed for its time or memory."""


class Worker:
    """Runs functions in a process of its own, with a limit of time and memory for each call.

    The process starts with the first call, stays for the next ones and is replaced after it was killed, so that a
    thousand good files cost one start. Arguments and results travel as JSON.

    Args:
        seconds: Time a call may take.
        memory_gib: Memory that a call may take beyond what the fresh process has.
        replace: How a process is replaced after the first: ``fork``, which is fast, or ``spawn`` where the caller by
            then has threads that a fork would leave half done.

    Attributes:
        starts: How many processes there were; what one remembered, the next has forgotten.
    """

    def __init__(self, seconds: float, memory_gib: float, *, replace: Literal["fork", "spawn"] = "fork") -> None:
        self.seconds = seconds
        self.memory_gib = memory_gib
        self.replace = replace
        self.starts = 0
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, function: str, arguments: Mapping[str, Any], seconds: float | None = None) -> Any:
        """Run ``package.module:function`` with keyword arguments.

        Args:
            function: Where the function stands.
            arguments: JSON values.
            seconds: Another time limit for this call.

        Returns:
            What the function returned, through JSON.

        Raises:
            KilledError: The call crashed, or took too long or too much memory.
            InputError: The function raised it.
            TryAgainError: The system refused what may do another time, such as a full disk.
        """
        limit = self.seconds if seconds is None else seconds
        ended = self._ask(function, arguments, limit)
        if isinstance(ended, signal.Signals) and ended in FROM_OUTSIDE:
            # The file may be good: the machine was short of memory, or somebody ended the wrong process.
            ended = self._ask(function, arguments, limit)
            if isinstance(ended, signal.Signals) and ended in FROM_OUTSIDE:
                raise KilledError(
                    f"reading was ended from outside, twice ({ended.name})",
                    remedy="Most likely memory ran out: run again with fewer cores, or lower ingest.memory_gib.",
                )
        if not isinstance(ended, dict):
            raise KilledError("the decoder crashed" + (f" ({ended.name})" if ended is not None else ""))
        answer = ended
        if "value" in answer:
            return answer["value"]
        if answer["kind"] == "memory":
            self.close()
            raise KilledError(
                f"reading took more than {self.memory_gib:g} GiB of memory",
                remedy="If that is right, raise ingest.memory_gib.",
            )
        error = TryAgainError if answer["kind"] == "again" else InputError
        raise error(answer["what"], where=answer["where"], remedy=answer["remedy"])

    def _ask(self, function: str, arguments: Mapping[str, Any], limit: float) -> dict[str, Any] | signal.Signals | None:
        """What the process answered, or the signal that it ended by (``None`` where it ended otherwise)."""
        pipe = self._running()
        try:
            pipe.send_bytes(json.dumps([function, dict(arguments), limit]).encode())
            if not pipe.poll(limit):
                self.close()
                raise KilledError(
                    f"reading took longer than {limit:g} s", remedy="If that is right, raise ingest.seconds."
                )
            return dict(json.loads(pipe.recv_bytes()))
        except (EOFError, OSError):
            return self._how_it_ended()

    def start(self) -> None:
        """Start the process, before the first call needs it."""
        self._running()

    def close(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            with _CHILDREN:
                self._process.kill()
                self._process.join()
                self._process.close()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def _running(self) -> Connection:
        if self._process is None or self._pipe is None or not self._process.is_alive():
            self.close()
            # A forked process has everything imported already; where forking is not safe, a fresh one is started.
            fork = sys.platform == "linux" and (self.starts == 0 or self.replace == "fork")
            context = multiprocessing.get_context("fork" if fork else "spawn")
            with _CHILDREN:
                self._pipe, theirs = context.Pipe()
                self._process = context.Process(  # type: ignore[attr-defined]
                    target=_serve, args=(theirs, self._pipe, self.memory_gib), daemon=True
                )
                # Not between the fork and `_serve`, either: see there.
                collects = gc.isenabled()
                gc.disable()
                try:
                    self._process.start()
                finally:
                    if collects:
                        gc.enable()
                self.starts += 1
                theirs.close()
        return self._pipe

    def _how_it_ended(self) -> signal.Signals | None:
        process, code = self._process, None
        if process is not None:
            with _CHILDREN:
                process.join(GRACE)
                code = process.exitcode
        self.close()
        if code is not None and code < 0:
            with suppress(ValueError):
                return signal.Signals(-code)
        return None


def _serve(pipe: Connection, callers: Connection, memory_gib: float) -> None:
    """Answer calls until the caller is gone."""
    # What the caller had left to be collected is never destroyed here: threads that its libraries would wait for (those
    # of ONNX Runtime, for good) did not come along.
    gc.freeze()
    gc.enable()
    callers.close()
    _silence()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    alarm = getattr(signal, "alarm", lambda seconds: None)  # on Windows the caller alone ends it
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    limit_memory(memory_gib)
    while True:
        try:
            function, arguments, limit = json.loads(pipe.recv_bytes())
        except EOFError:
            return
        alarm(int(limit) + GRACE)  # ends this process even inside C code, should the caller be gone
        answer = _answer(function, arguments)
        alarm(0)
        try:
            pipe.send_bytes(answer)
        except OSError:
            return


def _silence() -> None:
    """Drop what decoders print: they name the files, and logs must not."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
    faulthandler.disable()  # it may hold another stream, and a crash here is told by the caller


def _answer(function: str, arguments: dict[str, Any]) -> bytes:
    try:
        module, _, name = function.partition(":")
        run: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return json.dumps({"value": run(**arguments)}, allow_nan=False).encode()
    except InputError as error:
        said = {"kind": "input", "what": error.what, "where": error.where, "remedy": error.remedy}
    except MemoryError:
        said = {"kind": "memory"}
    except RecursionError:
        said = {"kind": "input", "what": "the file is nested too deeply", "where": None, "remedy": None}
    except Exception as error:
        if os.environ.get("ORGANSEG_DEBUG"):
            raise
        known = for_the_user(error)
        if isinstance(known, TryAgainError):
            said = {"kind": "again", "what": known.what, "where": known.where, "remedy": known.remedy}
            return json.dumps(said).encode()
        said = {"kind": "input", "what": f"cannot be read ({type(error).__name__})", "where": None, "remedy": None}
    return json.dumps(said).encode()
