"""Copies between the host and a device, for which neither waits.

A GPU has a queue of work, which the host fills ahead of it. A copy from or to ordinary memory of the host empties the
queue: the host waits until all work before the copy is done, and then the GPU until the host has added more. A copy
from or to pinned memory is added to the queue like other work. PyTorch reuses pinned memory only after its copies.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(values: NDArray[Any] | Tensor, device: torch.device | str) -> Tensor:
    """Return the values on a device; copied only if they are not there."""
    tensor = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
    is_upload = torch.device(device).type == "cuda" and tensor.device.type == "cpu"
    return tensor.pin_memory().to(device, non_blocking=True) if is_upload else tensor.to(device)


class Write(NamedTuple):
    """An assignment `target[rows] = values` of values that a device computes.

    Attributes:
        target: an array on the host.
        rows: int64, indices of rows of the array, or the index of one.
        values: the values of these rows.
    """

    target: NDArray[Any]
    rows: NDArray[np.int64] | int
    values: Tensor


def write_behind(steps: Iterable[Sequence[Write]]) -> Iterator[None]:
    """Carry out the writes of each step, and yield after each step.

    The next step is started before the host waits for the values of one, so that the device always has work. Steps
    must be started by iteration, as a generator does.
    """
    for writes, _ in pairwise(chain(map(_start, steps), [[]])):
        for write in writes:
            write.finish()
        yield


def _start(step: Sequence[Write]) -> list["_StartedWrite"]:
    return [_StartedWrite(write) for write in step]


class _StartedWrite:
    """A write whose values the device copies to the host. Only `finish` reads them, after it has waited for them."""

    def __init__(self, write: Write) -> None:
        self._target, self._rows, values = write
        self._values = values.to("cpu", non_blocking=values.is_cuda)  # to pinned memory, if it does not block
        self._are_copied: torch.cuda.Event | None = None
        if values.is_cuda:
            self._are_copied = torch.cuda.Event(blocking=True)  # the thread that waits sleeps: its core can tokenize
            self._are_copied.record(torch.cuda.current_stream(values.device))

    def finish(self) -> None:
        if self._are_copied is not None:
            self._are_copied.synchronize()
        self._target[self._rows] = self._values.numpy()
