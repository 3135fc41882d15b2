"""Many scans through one model: the next is read and the last is written while the networks work on one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, TypeVar

from pipeline.core.errors import InputError, raise_passing
from pipeline.core.machine import usable_threads
from pipeline.core.scan import Scan
from pipeline.inference.predictor import Case, Prediction, Predictor

Item = TypeVar("Item")
Read = TypeVar("Read")
Done = TypeVar("Done")
Result = TypeVar("Result")

BEHIND = 4  # items at most that are written, or wait for it
MOST_WRITERS = 4


@dataclass
class Outcome(Generic[Item, Result]):
    """What became of one scan.

    Attributes:
        item: What the scan was known by.
        result: What the last step gave; ``None`` where one of them failed.
        reason: What went wrong, in words; empty where nothing did. The error itself is not kept: its traceback would
            hold the scan, and the networks with their threads, until Python collects them, whenever that is.
        seconds: Time of all its steps.
    """

    item: Item
    result: Result | None = None
    reason: str = ""
    seconds: float = 0.0


def reason_of(error: Exception) -> str:
    """What went wrong, in words; they may name the source."""
    return error.what if isinstance(error, InputError) else f"{type(error).__name__}: {error}"


def predict_scans(
    items: Sequence[Item],
    predictor: Predictor,
    read: Callable[[Item], Scan],
    finish: Callable[[Item, Scan, Prediction], Result],
    *,
    threads: int | None = None,
    explain: Callable[[Exception], str] = reason_of,
) -> Iterator[Outcome[Item, Result]]:
    """Segment scans one after the other. What goes wrong with one becomes its outcome, and the others go on.

    Args:
        items: What the scans are known by.
        predictor: Who predicts.
        read: Reads a scan; it may run in another thread.
        finish: Takes a scan on canonical axes and what was found in it; it may run in other threads.
        threads: Processor threads that were granted; by default those of the process.
        explain: Puts what went wrong into words.

    Yields:
        An outcome an item, in order.
    """

    @contextmanager
    def watched(outcome: Outcome[Item, Result]) -> Iterator[None]:
        """Take the time of a step, and what goes wrong in it: whatever a damaged file sets off."""
        start = perf_counter()
        try:
            yield
        except Exception as error:
            raise_passing(error)
            outcome.reason = explain(error)
        outcome.seconds += perf_counter() - start

    def begin(item: Item) -> tuple[Outcome[Item, Result], Case | None]:
        outcome, case = Outcome[Item, Result](item), None
        with watched(outcome):
            case = predictor.open(read(item))
        return outcome, case

    def ask(step: tuple[Outcome[Item, Result], Case | None]) -> tuple[Outcome[Item, Result], Case | None]:
        outcome, case = step
        with watched(outcome):
            if case is not None:
                predictor.ask(case)
        return step

    def end(step: tuple[Outcome[Item, Result], Case | None]) -> Outcome[Item, Result]:
        outcome, case = step
        with watched(outcome):
            if case is not None and not outcome.reason:
                outcome.result = finish(outcome.item, case.scan, predictor.conclude(case))
        return outcome

    return flow(items, begin, ask, end, large=lambda step: step[1] is not None and step[1].large, threads=threads)


def flow(
    items: Sequence[Item],
    read: Callable[[Item], Read],
    work: Callable[[Read], Done],
    finish: Callable[[Done], Result],
    *,
    large: Callable[[Read], bool],
    threads: int | None = None,
) -> Iterator[Result]:
    """Give ``finish(work(read(item)))`` of each item, in order.

    ``work`` runs here, one item after the other. Around an item that is large nothing else is held, so that memory is
    that of one such item. A single item is worked on without threads.

    Args:
        items: What there is to do.
        read: First step; it may run in another thread.
        work: Second step.
        finish: Last step; it may run in other threads, of several items at once.
        large: Whether what was read is too large to hold several of.
        threads: Processor threads that were granted; by default those of the process.
    """
    if len(items) < 2:
        for item in items:
            yield finish(work(read(item)))
        return
    # One more than there are threads, as a last step also waits for the disk.
    count = min((threads or usable_threads()) + 1, MOST_WRITERS)
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(count) as writers:
        coming: Future[Read] | None = None
        for number, item in enumerate(items, 1):
            got = read(item) if coming is None else coming.result()
            alone = large(got)
            while waiting and (alone or len(waiting) >= BEHIND or waiting[0].done()):
                yield waiting.popleft().result()
            coming = reader.submit(read, items[number]) if number < len(items) and not alone else None
            done = work(got)
            del got
            if alone:
                yield finish(done)
            else:
                waiting.append(writers.submit(finish, done))
            del done
        while waiting:
            yield waiting.popleft().result()
