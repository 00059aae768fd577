"""Faults of stores, and of runs on them, each followed by a run that has to complete what the fault left."""

import random
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path

import pytest

from jobs.demo.build import write_demo
from tests.chaos.fault_counts import FaultCounts
from tests.chaos.stores.servers import azure_server, s3_server
from tests.chaos.stores.store_jobs import IMPATIENT, Store, data, ids, is_complete, running_store, trouble

# Runs among faults that are drawn, on each store.
TROUBLED_RUNS = 4

_AT_ONCE = 6


def kill_and_complete(store: Store, number: int, when: str) -> FaultCounts:
    """Kill a run before or after its n-th request that changes the store, and let another complete it.

    What the killed one leaves is sound: its parts are those of an undisturbed run, and it is complete if it says so.
    """
    out = f"killed-{when}-{number}"
    with store.beside() as beside:
        beside.proxy.at(number, when, lambda: driver.kill())
        driver = beside.start(out)
        assert driver.ending() is None, f"{when} request {number} of {len(store.steps)}: the run ended before"
    left = store.output(out)
    assert data(left).items() <= data(store.undisturbed).items()
    assert "_SUCCESS" not in left or data(left) == data(store.undisturbed)
    store.expire_locks(out)
    with store.beside() as beside:
        ending = beside.run(out, {})
    return _judge(store, out, ending, faults=1, points=1)


def run_in_trouble(store: Store, scale: float, seed: int = 7) -> FaultCounts:
    """Run a job on a store that misbehaves in every way; where that is more than it can bear, the next completes it."""
    out = f"trouble-{scale}-{seed}"
    with store.beside() as beside:
        beside.proxy.faults = faults = trouble(scale, seed)
        ending = beside.start(out, IMPATIENT).ending(within_s=600)  # Azure's client waits long between its tries
        if ending == "complete":
            assert faults.counts.keys() == {rule.fault for rule in faults.rules}
        elif ending is not None and ending.startswith("RetryableError: "):
            store.expire_locks(out)
            beside.proxy.forget()
            ending = beside.run(out, {})
    return _judge(store, out, ending, faults=faults.counts.total(), points=len(faults.counts))


def run_series(rng: random.Random) -> Iterator[FaultCounts]:
    """Kill runs at requests, on each store, and let each misbehave; what is wrong is said on stderr.

    The runs mostly wait, so several go on at once.
    """
    with tempfile.TemporaryDirectory() as folder:
        demo = write_demo(Path(folder) / "demo").parent
        for serve in (s3_server, azure_server):
            try:
                with running_store(serve, demo) as store, ThreadPoolExecutor(_AT_ONCE) as pool:
                    scales = [(round(rng.uniform(0.3, 1.0), 2), rng.randrange(1 << 30)) for _ in range(TROUBLED_RUNS)]
                    rounds = [partial(run_in_trouble, store, *scale) for scale in scales]
                    rounds += [partial(kill_and_complete, store, *point) for point in _points(store)]
                    yield from pool.map(lambda play: play(), rounds)
            except pytest.skip.Exception as skipped:
                print(skipped, file=sys.stderr)


def _points(store: Store) -> Iterator[tuple[int, str]]:
    """Give the moments after requests that change the store: all of them, of Azure's those of the first of each kind.

    Azure's client takes eight to write an object. After one is before the next: the store is the same.
    """
    yield 1, "before"
    numbers = range(1, len(store.steps) + 1)
    if store.server.scheme == "az://":
        first = {step: number for number, step in zip(reversed(numbers), reversed(store.steps), strict=True)}
        numbers = sorted(first.values())
    yield from product(numbers, ("after",))


def _judge(store: Store, out: str, ending: str | None, *, faults: int, points: int) -> FaultCounts:
    output = store.output(out)
    expected, found = ids(store.undisturbed), ids(output)
    is_right = ending == "complete" and is_complete(output) and data(output) == data(store.undisturbed)
    if not is_right:
        other = sorted(set(output.items()) ^ set(store.undisturbed.items()))
        print(f"{store.server.url('', out)}: {ending}, with {[name for name, _ in other]}", file=sys.stderr)
    lost, doubled = (expected - found).total(), (found - expected).total()
    return FaultCounts(faults, points, 1, int(is_right), lost, doubled)


if __name__ == "__main__":
    print(sum(run_series(random.Random(0)), FaultCounts()))
