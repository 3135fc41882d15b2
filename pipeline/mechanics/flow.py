"""Scans through three steps: the next is read and the last is written while the networks work on one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from math import prod
from typing import TypeVar

from pipeline.core.scan import Scan

Item = TypeVar("Item")
Read = TypeVar("Read")
Done = TypeVar("Done")
Result = TypeVar("Result")

BEHIND = 4  # items at most that are written, or wait for it
LARGE = 1 << 26  # bytes of a scan that nothing else should be in memory beside
WRITERS = 4  # a write waits for the disk more than it computes


def is_large(scan: Scan | None, channels: int) -> bool:
    """Whether a scan, or the float32 probabilities of ``channels`` that come of it, leave no room for another."""
    return scan is not None and (scan.voxels.nbytes > LARGE or 4 * channels * prod(scan.shape) > 4 * LARGE)


def flow(
    items: Sequence[Item],
    read: Callable[[Item], Read],
    work: Callable[[Read], Done],
    finish: Callable[[Done], Result],
    *,
    large: Callable[[Read], bool],
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
    """
    if len(items) < 2:
        for item in items:
            yield finish(work(read(item)))
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(WRITERS) as writers:
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
