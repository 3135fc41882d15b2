"""Scans through three steps: the next is read and the last is written while the networks work on one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from pipeline.inference.backends import usable_threads

Item = TypeVar("Item")
Read = TypeVar("Read")
Done = TypeVar("Done")
Result = TypeVar("Result")

BEHIND = 4  # items at most that are written, or wait for it
MOST_WRITERS = 4


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
