"""Functions that wait run in threads; those that compute do not."""

import threading
import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from pipelines.thread_map import map_in_threads

THREADS = 4
TIMEOUT_S = 60


@pytest.fixture(params=["computes", "waits"])
def function(request: pytest.FixtureRequest) -> Callable[[int], int]:
    def square(number: int) -> int:
        if request.param == "waits":
            time.sleep(0.02)
        return number * number

    return square


def test_results_are_in_order(function: Callable[[int], int]):
    assert list(map_in_threads(function, range(30), THREADS)) == [number * number for number in range(30)]


def test_no_items_give_no_results(function: Callable[[int], int]):
    assert list(map_in_threads(function, [], THREADS)) == []


def test_a_function_that_computes_stays_in_the_calling_thread():
    def threads_used() -> set[int]:
        return set(map_in_threads(lambda _: threading.get_ident(), range(100), THREADS))

    # repeated, since other programs may interrupt the function, which then seems to wait
    assert any(threads_used() == {threading.get_ident()} for _ in range(20))


def test_a_function_that_waits_waits_for_several_items_at_once():
    all_wait = threading.Barrier(THREADS)

    def wait(number: int) -> int:
        if number == 0:
            time.sleep(0.1)  # as for the answer of a store
        else:
            all_wait.wait(TIMEOUT_S)  # returns once as many items as threads have called it
        return number

    assert list(map_in_threads(wait, range(1 + 2 * THREADS), THREADS)) == list(range(1 + 2 * THREADS))


def test_no_more_items_than_threads_are_computed_ahead_of_the_consumer(function: Callable[[int], int]):
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in count():
            taken.append(number)
            yield number

    results = map_in_threads(function, items(), THREADS)
    for number, _ in zip(range(20), results, strict=False):
        assert len(taken) <= number + 1 + THREADS + 1
    results.close()  # pyright: ignore[reportAttributeAccessIssue]
    num_taken = len(taken)
    time.sleep(0.1)
    assert len(taken) == num_taken


def test_an_error_is_raised_in_the_consumer(function: Callable[[int], int]):
    def fail(number: int) -> int:
        if number == 7:
            raise ValueError("seven")
        return function(number)

    found: list[int] = []
    with pytest.raises(ValueError, match="seven"):
        found.extend(map_in_threads(fail, range(30), THREADS))
    assert found in ([], [number * number for number in range(7)])
