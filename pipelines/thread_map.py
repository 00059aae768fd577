"""Map a function over items, in threads if these are faster, in order, a bounded number of items ahead."""

from __future__ import annotations

import math
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_TRIAL_S = 0.1  # of each way; dozens of requests to a store, hundreds of small local files
_MIN_GAIN = 1.2  # less may be chance


def map_in_threads(function: Callable[[ItemT], ResultT], items: Iterable[ItemT], num_threads: int) -> Iterator[ResultT]:
    """Yield the result of a function for each item, in order.

    The first items are computed in the calling thread, the next ones in threads, and all others in the faster way.
    Threads wait for a store together, and decompress in parallel. But with small local files, where each of many short
    calls gives Python's lock to another thread, they take two to three times as long as one.

    At most as many items as threads are computed ahead. If the consumer ends early, no further items are started.
    """
    items = iter(items)
    alone_per_s = yield from _map_alone(function, items, _TRIAL_S)
    together_per_s = yield from _map_together(function, items, num_threads, _TRIAL_S)
    if together_per_s > _MIN_GAIN * alone_per_s:
        yield from _map_together(function, items, num_threads)
    else:
        yield from _map_alone(function, items)


def _map_alone(
    function: Callable[[ItemT], ResultT], items: Iterator[ItemT], max_s: float = math.inf
) -> Generator[ResultT, None, float]:
    """Yield results until the time is over, and return their number per second."""
    began, number = time.perf_counter(), 0
    for item in items:
        yield function(item)
        number += 1
        if time.perf_counter() - began > max_s:
            break
    return _per_s(number, began)


def _map_together(
    function: Callable[[ItemT], ResultT], items: Iterator[ItemT], num_threads: int, max_s: float = math.inf
) -> Generator[ResultT, None, float]:
    """Yield results until the time is over, but of as many items as threads, and return their number per second."""
    began, number = time.perf_counter(), 0
    pending: deque[Future[ResultT]] = deque()
    pool = ThreadPoolExecutor(num_threads)
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            number += 1
            if len(pending) > num_threads:
                yield pending.popleft().result()
            if number >= num_threads and time.perf_counter() - began > max_s:
                break
        while pending:
            yield pending.popleft().result()
    finally:
        # Without waiting: the garbage collector may close an abandoned generator in one of the threads.
        pool.shutdown(wait=False, cancel_futures=True)
    return _per_s(number, began)


def _per_s(number: int, began: float) -> float:
    return number / max(time.perf_counter() - began, 1e-9)  # without items, the clock may not have moved
