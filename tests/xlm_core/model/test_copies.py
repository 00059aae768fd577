"""The host and the device do not wait for each other, and the host reads only what has arrived."""

import numpy as np
import pytest
import torch

from xlm_core.model.copies import Write, to_device, write_behind


def test_each_step_starts_before_the_values_of_the_one_before_are_written():
    target, when_started = np.zeros(4), list[list[float]]()

    def steps():
        for number in range(4):
            when_started.append(target.tolist())
            yield [Write(target, number, torch.tensor(number + 1.0))]

    after_each = [target.tolist() for _ in write_behind(steps())]
    assert after_each == [[1, 0, 0, 0], [1, 2, 0, 0], [1, 2, 3, 0], [1, 2, 3, 4]]
    assert when_started == [[0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [1, 2, 0, 0]]


def test_a_step_writes_rows_of_several_arrays_or_nothing():
    vectors, ids = np.zeros((3, 2)), np.zeros(3, np.int64)
    rows = np.array([2, 0])
    steps = [
        [],
        [Write(vectors, rows, torch.tensor([[1.0, 2.0], [3.0, 4.0]])), Write(ids, rows, torch.tensor([5, 6]))],
        [],
    ]
    assert len(list(write_behind(steps))) == 3
    assert vectors.tolist() == [[3, 4], [0, 0], [1, 2]]
    assert ids.tolist() == [6, 0, 5]
    assert list(write_behind([])) == []


def test_copy_to_the_device_of_the_values_shares_their_memory():
    values = np.arange(3)
    tensor = to_device(values, "cpu")
    values[0] = 7
    assert tensor.tolist() == [7, 1, 2]
    assert to_device(tensor, torch.device("cpu")) is tensor


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_steps_on_a_gpu_do_not_wait_and_arrive_complete():
    """Each step takes the GPU longer than the host needs to start the next."""
    rng = np.random.default_rng(0)
    inputs = rng.integers(-1, 2, (6, 2048, 2048)).astype(np.float32)
    found = np.full((6, 2048), np.nan, np.float32)

    def step(number: int) -> list[Write]:
        matrix = to_device(inputs[number], "cuda")
        for _ in range(20):
            matrix = (matrix @ matrix).sign()
        return [Write(found, number, matrix.sum(0))]

    torch.cuda.set_sync_debug_mode("error")
    try:
        num_steps = sum(1 for _ in write_behind(map(step, range(6))))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert num_steps == 6
    expected = np.stack([step(number)[0].values.cpu().numpy() for number in range(6)])
    assert np.array_equal(found, expected)
