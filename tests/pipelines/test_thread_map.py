"""Functions that wait run in several threads; those that need Python's lock run in one."""

import threading
import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from pipelines.thread_map import map_in_threads

THREADS = 4


def compute(number: int) -> int:
    return sum(range(number, number + 20_000)) // 20_000  # about a millisecond, with Python's lock


def wait(number: int) -> int:
    time.sleep(0.02)  # as for the answer of a store
    return number + 9_999


@pytest.fixture(params=[compute, wait])
def function(request: pytest.FixtureRequest) -> Callable[[int], int]:
    return request.param


@pytest.mark.parametrize("num_items", [0, 1, THREADS, 200])
def test_results_are_in_order(function: Callable[[int], int], num_items: int):
    assert list(map_in_threads(function, range(num_items), THREADS)) == [i + 9_999 for i in range(num_items)]


def test_a_function_that_needs_the_lock_of_python_runs_in_the_calling_thread():
    def thread(number: int) -> int:
        compute(number)
        return threading.get_ident()

    def uses_one_thread() -> bool:
        return set([*map_in_threads(thread, range(1_500), THREADS)][-500:]) == {threading.get_ident()}

    # repeated, since other programs may use the processors during one of the trials
    assert any(uses_one_thread() for _ in range(10))


def test_a_function_that_waits_runs_in_several_threads():
    running, together = set[int](), list[int]()

    def note(number: int) -> int:
        running.add(number)
        wait(number)
        together.append(len(running))
        running.remove(number)
        return threading.get_ident()

    threads = list(map_in_threads(note, range(100), THREADS))
    assert max(together) == THREADS
    assert threads[0] == threading.get_ident() not in threads[-50:]


def test_no_more_items_than_threads_are_computed_ahead_of_the_consumer(function: Callable[[int], int]):
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in count():
            taken.append(number)
            yield number

    results = map_in_threads(function, items(), THREADS)
    for number, _ in zip(range(200), results, strict=False):
        assert len(taken) <= number + 1 + THREADS + 1
    results.close()  # pyright: ignore[reportAttributeAccessIssue]
    num_taken = len(taken)
    time.sleep(0.1)
    assert len(taken) == num_taken


@pytest.mark.parametrize("place", [0, 7, 150])
def test_an_error_is_raised_in_the_consumer_after_the_results_before_it(function: Callable[[int], int], place: int):
    def fail(number: int) -> int:
        if number == place:
            raise ValueError("no result")
        return function(number)

    found: list[int] = []
    with pytest.raises(ValueError, match="no result"):
        found.extend(map_in_threads(fail, range(200), THREADS))
    assert found == [i + 9_999 for i in range(place)]
