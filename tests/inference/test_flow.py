"""Three steps side by side give what one after the other gives, in order and within bounds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from pipeline.inference.flow import BEHIND, flow


@pytest.mark.parametrize("count", [0, 1, 2, 17])
@pytest.mark.parametrize("large", [lambda n: False, lambda n: True, lambda n: n % 3 == 0])
def test_all_in_order(count: int, large: Callable[[int], bool]) -> None:
    def finish(n: int) -> str:
        time.sleep(0.002 * (n % 4))
        return str(n)

    found = list(flow(range(count), lambda n: n, lambda n: n + 100, finish, large=large))
    assert found == [str(n + 100) for n in range(count)]


def test_reading_and_writing_take_no_time_of_their_own() -> None:
    def slow(n: int) -> int:
        time.sleep(0.02)
        return n

    start = time.perf_counter()
    list(flow(range(12), slow, slow, slow, large=lambda n: False))
    together = time.perf_counter() - start
    assert together < 0.8 * 3 * 12 * 0.02


def test_no_more_than_a_few_are_held() -> None:
    lock, held, most = threading.Lock(), 0, 0

    def read(n: int) -> int:
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return n

    def finish(n: int) -> int:
        nonlocal held
        time.sleep(0.01)
        with lock:
            held -= 1
        return n

    list(flow(range(30), read, lambda n: n, finish, large=lambda n: False))
    assert most <= BEHIND + 2
    most = held = 0
    list(flow(range(10), read, lambda n: n, finish, large=lambda n: True))
    assert most == 1


def test_one_item_needs_no_thread() -> None:
    here = threading.get_ident()
    step: Callable[[int], int] = lambda n: threading.get_ident()  # noqa: E731
    assert list(flow([1], step, lambda n: n, step, large=lambda n: False)) == [here]


def test_errors_come_out() -> None:
    def broken(n: int) -> int:
        raise KeyError(n)

    for steps in ((broken, int, int), (int, broken, int), (int, int, broken)):
        with pytest.raises(KeyError):
            list(flow(range(5), *steps, large=lambda n: False))
