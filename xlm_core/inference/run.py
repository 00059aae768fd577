"""Run the trunk over many rows, and collect the results of one or more tasks from its passes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch

from xlm_core.errors import NotFiniteError
from xlm_core.model import Write, run_passes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from xlm_core.decoding import Sequences
    from xlm_core.inference.model import Model, Pass

ResultT = TypeVar("ResultT")

# Messages of out-of-memory errors that torch raises as plain RuntimeErrors: from its CPU allocator on Linux and on
# Windows, and from CUDA and cuBLAS, which allocate device memory outside of torch's own allocator.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


class Collector(ABC, Generic[ResultT]):
    """Collects the results of one task for many rows.

    Attributes:
        reads_pass: whether it reads the forward passes that all collectors share; others run the trunk themselves.
        layers: the layers whose output it reads from the pass; 0 is the embeddings, -1 the last layer.
        on_progress: receives the share of its work that is done, from 0 to 1, if it runs the trunk itself.
    """

    reads_pass = True
    layers: Sequence[int] = (-1,)
    on_progress: Callable[[float], None] = staticmethod(lambda _: None)

    def compute(self, step: Pass) -> list[Write]:
        """Compute the results of one forward pass, and return where they belong in arrays of this collector.

        It must not read tensors of the device, because that would wait for the pass; the arrays get the results while
        the next pass is computed. On a CPU, several threads call it. Not called if `reads_pass` is false.
        """
        raise AssertionError(f"{type(self).__name__} reads no shared forward pass")

    @abstractmethod
    def result(self) -> ResultT:
        """Return the results of all rows, in input order."""


def run_collectors(
    model: Model,
    sequences: Sequences,
    start: Callable[[], Sequence[Collector[Any]]],
    on_progress: Callable[[float], None] = lambda _: None,
) -> tuple[list[Any], int]:
    """Run the trunk over the sequences of at least one row, in smaller passes if memory runs out.

    Args:
        model: the model, whose `max_tokens` is halved as often as memory runs out.
        sequences: of all rows.
        start: builds the collectors; called again for each attempt.
        on_progress: receives the share of the work that is done, from 0 to 1, when the results of a forward pass or
            batch have arrived, and after each collector has returned its result. If memory runs out, it begins again.

    Returns:
        The results of the collectors, and how often the token budget was halved.

    Raises:
        DeviceMemoryError: the longest sequence does not fit the device's memory alone.
        NotFiniteError: some output is not finite, for example after an overflow in half precision.
    """
    halvings = 0
    while (results := _try(model, sequences, start, on_progress)) is None:
        model.shrink(sequences)
        halvings += 1
    return results, halvings


@torch.inference_mode()
def _try(
    model: Model,
    sequences: Sequences,
    start: Callable[[], Sequence[Collector[Any]]],
    on_progress: Callable[[float], None],
) -> list[Any] | None:
    """Run all passes, and return the results of the collectors; None if memory runs out.

    The caller then repeats the whole run, with new collectors, because a collector cannot undo what it has added. The
    largest pass runs first, so little work is lost.
    """
    try:
        collectors = start()
        readers = [collector for collector in collectors if collector.reads_pass]
        # The shared passes are as much work as those of each other collector.
        num_runs, num_done = len(collectors) - len(readers) + bool(readers), 0
        if readers:
            _run_shared_passes(model, sequences, readers, partial(_report_part, on_progress, 0, num_runs))
            num_done = 1
        results: list[Any] = []
        for collector in collectors:
            if not collector.reads_pass:
                collector.on_progress = partial(_report_part, on_progress, num_done, num_runs)
                num_done += 1
            results.append(collector.result())
            on_progress(num_done / num_runs)
        return results
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return None  # the caller retries, because the traceback still references the tensors of the pass


def _run_shared_passes(
    model: Model, sequences: Sequences, readers: Sequence[Collector[Any]], on_progress: Callable[[float], None]
) -> None:
    layers = {layer for collector in readers for layer in collector.layers}
    is_finite = np.ones(1, np.bool_)
    num_done = 0

    def run_pass(index: NDArray[np.int64]) -> list[Write]:
        step = model.run_pass(sequences, index, layers)
        writes = [write for collector in readers for write in collector.compute(step)]
        return [Write(is_finite, 0, step.states[-1].isfinite().all()), *writes]

    def on_arrival(index: NDArray[np.int64]) -> None:
        nonlocal num_done
        if not is_finite[0]:
            raise NotFiniteError(str(model.dtype))
        lengths = sequences.lengths[index]
        model.pass_tokens += int(lengths.sum())
        model.padded_tokens += len(index) * int(lengths.max())
        num_done += int(lengths.sum())
        on_progress(num_done / len(sequences.input_ids))

    run_passes(run_pass, model.batches(sequences.lengths), model.device, on_arrival, invariant=model.invariant)


def _report_part(on_progress: Callable[[float], None], num_done: int, num_runs: int, share: float) -> None:
    on_progress((num_done + share) / num_runs)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error of torch says that a device's memory ran out."""
    return isinstance(error, torch.OutOfMemoryError) or any(message in str(error) for message in _OUT_OF_MEMORY)
