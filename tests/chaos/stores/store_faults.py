"""Faults of object stores and of runs on them, each followed by a run that has to complete."""

import random
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path

import pytest

from tests.chaos.fault_counts import FaultCounts
from tests.chaos.stores.servers import azure_server, s3_server
from tests.chaos.stores.store_jobs import (
    QUICK_RETRIES,
    Store,
    count_ids,
    is_complete,
    random_faults,
    result_files,
    running_store,
)
from tests.small_job import write_small_job

# The number of runs with random faults on each store.
RANDOM_RUNS = 4

_CONCURRENT_RUNS = 6


def kill_and_resume(store: Store, number: int, when: str) -> FaultCounts:
    """Kill a run before or after its n-th request that changes the store, and resume it.

    Checks that the killed run leaves only parts of a run without faults, and `_SUCCESS` only if it was complete.
    """
    out = f"killed-{when}-{number}"
    with store.with_own_proxy() as own:
        own.proxy.at(number, when, lambda: driver.kill())
        driver = own.start(out)
        assert driver.wait() is None, f"{when} request {number} of {len(store.steps)}: the run has ended before"
    left = store.output(out)
    assert result_files(left).items() <= result_files(store.undisturbed).items()
    assert "_SUCCESS" not in left or result_files(left) == result_files(store.undisturbed)
    store.expire_locks(out)
    with store.with_own_proxy() as own:
        outcome = own.run(out, {})
    return _check_output(store, out, outcome, num_faults=1, num_points=1)


def run_with_random_faults(store: Store, scale: float, seed: int = 7) -> FaultCounts:
    """Run a job on a store with faults of every kind. If the run ends with a retryable error, resume it."""
    out = f"random-{scale}-{seed}"
    with store.with_own_proxy() as own:
        own.proxy.faults = faults = random_faults(scale, seed)
        outcome = own.start(out, QUICK_RETRIES).wait(timeout_s=600)  # Azure's client waits long between retries
        if outcome == "complete":
            assert faults.counts.keys() == {rule.fault for rule in faults.rules}
        elif outcome is not None and outcome.startswith("RetryableError: "):
            store.expire_locks(out)
            own.proxy.reset()
            outcome = own.run(out, {})
    return _check_output(store, out, outcome, num_faults=faults.counts.total(), num_points=len(faults.counts))


def run_series(rng: random.Random) -> Iterator[FaultCounts]:
    """Kill runs at requests, and run with random faults, on each store. Errors are printed on stderr.

    The runs wait most of the time, so several run at the same time.
    """
    with tempfile.TemporaryDirectory() as folder:
        demo = write_small_job(Path(folder) / "demo").parent
        for serve in (s3_server, azure_server):
            try:
                with running_store(serve, demo) as store, ThreadPoolExecutor(_CONCURRENT_RUNS) as pool:
                    scales = [(round(rng.uniform(0.3, 1.0), 2), rng.randrange(1 << 30)) for _ in range(RANDOM_RUNS)]
                    rounds = [partial(run_with_random_faults, store, *scale) for scale in scales]
                    rounds += [partial(kill_and_resume, store, *point) for point in _kill_points(store)]
                    yield from pool.map(lambda run: run(), rounds)
            except pytest.skip.Exception as skipped:
                print(skipped, file=sys.stderr)


def _kill_points(store: Store) -> Iterator[tuple[int, str]]:
    """Yield the requests to kill a run at: all that change the store; on Azure, the first of each kind.

    Azure's client makes eight requests to write an object. A kill after one request equals a kill before the next.
    """
    yield 1, "before"
    numbers = range(1, len(store.steps) + 1)
    if store.server.scheme == "az://":
        first = {step: number for number, step in zip(reversed(numbers), reversed(store.steps), strict=True)}
        numbers = sorted(first.values())
    yield from product(numbers, ("after",))


def _check_output(store: Store, out: str, outcome: str | None, *, num_faults: int, num_points: int) -> FaultCounts:
    output = store.output(out)
    expected, found = count_ids(store.undisturbed), count_ids(output)
    completed = (
        outcome == "complete" and is_complete(output) and result_files(output) == result_files(store.undisturbed)
    )
    if not completed:
        other = sorted(set(output.items()) ^ set(store.undisturbed.items()))
        print(f"{store.server.url('', out)}: {outcome}, with {[name for name, _ in other]}", file=sys.stderr)
    lost, duplicated = (expected - found).total(), (found - expected).total()
    return FaultCounts(num_faults, num_points, 1, int(completed), lost, duplicated)


if __name__ == "__main__":
    print(sum(run_series(random.Random(0)), FaultCounts()))
