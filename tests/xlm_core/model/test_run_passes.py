"""Forward passes on a CPU: several threads run one each, and nothing else depends on their number."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from xlm_core.model import Write, run_passes

CPU = torch.device("cpu")
MEETS_WITHIN_S = 60


@pytest.fixture(params=[1, 2, 3])
def num_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_as_many_passes_run_at_a_time_as_there_are_threads_and_each_has_its_share(num_threads):
    all_started = threading.Barrier(num_threads)
    found, shares, arrived = np.zeros(6, np.int64), np.zeros(6, np.int64), list[int]()

    def run_pass(batch: int) -> list[Write]:
        all_started.wait(MEETS_WITHIN_S)
        assert torch.is_inference_mode_enabled()
        threads = torch.tensor(torch.get_num_threads())
        return [Write(found, batch, torch.tensor(10 * batch)), Write(shares, batch, threads)]

    with torch.inference_mode():
        run_passes(run_pass, range(6), CPU, arrived.append)
    assert found.tolist() == [0, 10, 20, 30, 40, 50]
    assert shares.tolist() == [1] * 6
    assert arrived == [0, 1, 2, 3, 4, 5]
    assert torch.get_num_threads() == num_threads


@pytest.mark.parametrize(("invariant", "expected"), [(False, 1.0), (True, 0.0)])
def test_few_passes_share_the_threads_unless_they_have_to_be_invariant(num_threads, invariant, expected):
    found = np.zeros(1)

    def run_pass(batch: int) -> list[Write]:
        return [Write(found, batch, torch.tensor(torch.get_num_threads()))]

    run_passes(run_pass, [0], CPU, invariant=invariant)
    assert found.tolist() == [max(1, expected * num_threads)]
    assert torch.get_num_threads() == num_threads


def test_many_threads_share_eight_passes_because_each_takes_memory():
    before, shares = torch.get_num_threads(), np.zeros(16)
    torch.set_num_threads(20)
    try:
        run_passes(lambda batch: [Write(shares, batch, torch.tensor(torch.get_num_threads()))], range(16), CPU)
    finally:
        torch.set_num_threads(before)
    assert shares.tolist() == [2] * 16


def test_an_error_of_a_pass_is_raised_when_no_other_pass_is_running(num_threads):
    running, started = set[int](), list[int]()

    def run_pass(batch: int) -> list[Write]:
        running.add(batch)
        started.append(batch)
        if batch == 2:
            running.remove(batch)
            raise torch.OutOfMemoryError("no memory")
        torch.ones(100, 100) @ torch.ones(100, 100)
        running.remove(batch)
        return []

    arrived = list[int]()
    with pytest.raises(torch.OutOfMemoryError, match="no memory"):
        run_passes(run_pass, range(100), CPU, arrived.append)
    assert not running
    assert len(started) < 100
    assert arrived == list(range(len(arrived)))
    assert torch.get_num_threads() == num_threads


def test_an_error_on_arrival_ends_the_other_passes(num_threads):
    started = list[int]()

    def run_pass(batch: int) -> list[Write]:
        started.append(batch)
        return []

    def on_arrival(batch: int) -> None:
        raise ValueError(batch)

    with pytest.raises(ValueError, match="0"):
        run_passes(run_pass, range(100), CPU, on_arrival)
    assert len(started) < 100
    assert torch.get_num_threads() == num_threads


def test_no_batch_is_no_pass(num_threads):
    run_passes(lambda _: [], [], CPU)


def test_a_pass_keeps_its_number_of_threads_if_another_thread_sets_its_own(num_threads):
    found = np.zeros(1)

    def run_pass(batch: int) -> list[Write]:
        other = threading.Thread(target=torch.set_num_threads, args=(7,))
        other.start()
        other.join()
        return [Write(found, batch, torch.tensor(torch.get_num_threads()))]

    run_passes(run_pass, [0], CPU, invariant=True)
    assert found.tolist() == [1]
    torch.set_num_threads(num_threads)
