"""Map a function over items in threads, in order, a bounded number of items ahead of the consumer."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def map_in_threads(function: Callable[[ItemT], ResultT], items: Iterable[ItemT], num_threads: int) -> Iterator[ResultT]:
    """Yield the result of a function for each item, in order.

    At most as many items as threads are computed ahead. If the consumer ends early, no further items are started.
    """
    pending: deque[Future[ResultT]] = deque()
    pool = ThreadPoolExecutor(num_threads)
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > num_threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        # Without waiting: the garbage collector may close an abandoned generator in one of the threads.
        pool.shutdown(wait=False, cancel_futures=True)
