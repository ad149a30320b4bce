"""Work that threads do ahead: in order, bounded, and what was begun before a fault is given before it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from moat_det.runtime.side_by_side import ahead


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_in_order_and_no_more_than_so_many_ahead(threads: ThreadPoolExecutor) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    results = ahead(lambda number: number * number, items(), threads, 3)
    for number in range(20):
        assert next(results) == number * number
        assert len(taken) <= number + 1 + 3
    assert next(results, None) is None


def test_side_by_side(threads: ThreadPoolExecutor) -> None:
    both = threading.Barrier(2, timeout=10)  # which one thread alone never passes
    assert list(ahead(lambda number: both.wait() >= 0, range(4), threads, 2)) == [True] * 4


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_was_begun_before_a_fault_is_given(threads: ThreadPoolExecutor, error: type[BaseException]) -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise error

    given: list[int] = []
    with pytest.raises(error):
        given.extend(ahead(lambda number: number, items(), threads, 8))
    assert given == [0, 1, 2]


def test_a_fault_of_the_work(threads: ThreadPoolExecutor) -> None:
    def work(number: int) -> int:
        if number == 2:
            raise OSError("full")
        return number

    results = ahead(work, range(9), threads, 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(OSError, match="full"):
        list(results)
