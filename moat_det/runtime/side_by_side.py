"""Work of several kinds side by side: images are read and written by threads while the model computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(function: Callable[[T], R], items: Iterable[T], threads: Executor, most: int) -> Iterator[R]:
    """Give what a function makes of each item, in their order, while threads are at work on the next ones.

    Args:
        function: Called in the threads.
        items: Taken one by one, in the caller's thread, no more than `most` ahead.
        threads: That do the work.
        most: How many items may be begun, or done and not yet asked for.

    Raises:
        BaseException: That of the function, or that of `items`, when what was begun before it has been given.
    """
    waiting: deque[Future[R]] = deque()
    stopped: BaseException | None = None
    try:
        for item in items:
            while waiting and (len(waiting) >= most or waiting[0].done()):
                yield waiting.popleft().result()
            waiting.append(threads.submit(function, item))
    except GeneratorExit:
        raise
    except BaseException as error:
        stopped = error
    while waiting:
        yield waiting.popleft().result()
    if stopped is not None:
        raise stopped
