"""Run forward passes on a device: one ahead of its results on a GPU, several at a time on a CPU."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import TypeVar

import torch

from xlm_core.model.copies import Write, write_behind

BatchT = TypeVar("BatchT")

_MAX_AT_A_TIME = 8  # each takes memory, up to 200 MB with a language model's head


def run_passes(
    run_pass: Callable[[BatchT], Sequence[Write]],
    batches: Sequence[BatchT],
    device: torch.device,
    on_arrival: Callable[[BatchT], None] = lambda _: None,
    *,
    invariant: bool = False,
) -> None:
    """Run a forward pass on each batch, and write its results to the host.

    On a CPU, up to eight threads run a pass of their own, as long as there are enough. Threads that share a pass wait
    for each other after each operation, so another process that takes one of their cores for a moment delays all.

    Args:
        run_pass: runs the pass of a batch, and returns where its results belong. On a CPU, several threads call it.
        batches: all batches.
        device: where the passes run. On a CPU, they use as many threads as torch has been given.
        on_arrival: receives each batch, in order, when its results have been written.
        invariant: each pass has one thread of a CPU, also if there are fewer passes than threads, because products
            depend in their last bits on the number of threads.
    """
    with closing(_start_passes(run_pass, batches, device, invariant)) as started:
        for batch, _ in zip(batches, write_behind(started), strict=True):
            on_arrival(batch)


def _start_passes(
    run_pass: Callable[[BatchT], Sequence[Write]], batches: Sequence[BatchT], device: torch.device, invariant: bool
) -> Generator[Sequence[Write]]:
    num_threads = torch.get_num_threads()
    if device.type != "cpu" or num_threads == 1 or not batches:
        yield from map(run_pass, batches)
        return
    num_workers = min(num_threads, len(batches), _MAX_AT_A_TIME)

    @torch.inference_mode()
    def run_in_thread(batch: BatchT) -> Sequence[Write]:
        torch.get_num_threads()  # the first call in a thread takes the number that any thread has set last
        torch.set_num_threads(1 if invariant else num_threads // num_workers)  # of this thread
        return run_pass(batch)

    left, started = iter(batches), deque[Future[Sequence[Write]]]()
    with ThreadPoolExecutor(num_workers) as executor:
        try:
            while True:
                # One batch waits for each thread, so that no thread waits until a result is taken.
                started += [executor.submit(run_in_thread, b) for b in islice(left, 2 * num_workers - len(started))]
                if not started:
                    return
                yield started.popleft().result()
        finally:
            executor.shutdown(cancel_futures=True)
            torch.set_num_threads(num_threads)  # of threads that start later
