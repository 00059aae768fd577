"""The full run of faults: `python -m tests.chaos.run FILE` injects them all, and writes down what came of it.

A series kills or breaks something again and again, lets a run complete what is left, and counts rows against those of
an undisturbed run. What takes minutes in the tests runs here as well, and so does the check that they would notice if
a safeguard were gone.
"""

import os
import random
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from tests.chaos.bad_input import catalogue
from tests.chaos.driver import driver_faults
from tests.chaos.fault_counts import Counts
from tests.chaos.safeguards import first_failures
from tests.chaos.stores import store_faults
from tests.chaos.workers import processes

SERIES: dict[str, Callable[[random.Random], Iterator[Counts]]] = {
    "requests to an object store fail, or the driver is killed at one": store_faults.full,
    "the driver is killed at every step of the protocol, or a write fails": driver_faults.full,
    "readers, tokenizers, models and writers are killed": processes.full,
}
_SLOW_TESTS = ["tests/flow", "tests/chaos"]
_OUTCOME = re.compile(r"tests/\S+?::test_(.*) (PASSED|FAILED|ERROR|SKIPPED)\b")

_TELL_EVERY_S = 30.0


Line = tuple[str, bool]  # of the report, and whether what it tells is as it must be


def main() -> int:
    """Run everything; gives 0 if no row was lost or doubled, every run completed, and every check passed."""
    target, seed = Path(sys.argv[1]), random.randrange(2**32)
    print(f"seed {seed}", file=sys.stderr)
    began = time.monotonic()
    with ThreadPoolExecutor() as lanes:  # the tests mostly wait, so the rest runs beside them
        series = chain(_series(random.Random(seed)), _safeguards())
        lines = [*chain(*lanes.map(_told, (series, _tests())))]
    minutes = (time.monotonic() - began) / 60
    head = ["# Faults", "", f"Written by `make chaos` in {minutes:.0f} minutes on {os.cpu_count()} cores.", ""]
    target.write_text("\n".join([*head, *(line for line, _ in lines)]) + "\n", encoding="utf-8")
    passed = all(is_good for _, is_good in lines)
    print(f"{target}: {'all is well' if passed else 'SOMETHING IS WRONG'}")
    return 0 if passed else 1


def _told(lines: Iterator[Line]) -> list[Line]:
    """Print lines as they come."""
    told: list[Line] = []
    for line in lines:
        print(line[0], flush=True)
        told.append(line)
    return told


def _series(rng: random.Random) -> Iterator[Line]:
    os.nice(5)  # of this lane: of its threads, and of the processes that they start
    yield "| faults | injected | different | runs completed | rows lost | rows doubled |", True
    yield "|---|---|---|---|---|---|", True
    total = Counts()
    with ThreadPoolExecutor(2) as pool:  # runs on stores, the first, mostly wait: the others go on beside them
        sums = {
            name: pool.submit(_summed, name, series(random.Random(rng.random()))) for name, series in SERIES.items()
        }
        for name, summed in sums.items():
            try:
                counts = summed.result()
            except Exception as error:
                traceback.print_exc()
                yield f"| {name} | ended by {type(error).__name__} | | | | |", False
                continue
            yield _row(name, counts), _is_good(counts)
            total += counts
    yield _row("**all**", total), _is_good(total) and total.faults >= 300


def _safeguards() -> Iterator[Line]:
    yield from _titled("Without a safeguard", "| what the product then does | the test that fails |")
    for name, test in first_failures():
        yield f"| {name} | {f'`{test}`' if test else 'NONE'} |", test is not None


def _tests() -> Iterator[Line]:
    yield from _titled("What is slow to try", "| test | |")
    yield from _slow_tests()
    kinds = len(list(catalogue.names()))
    yield "", True
    yield f"What {kinds} kinds of bad input get: [BAD_INPUT.md](bad_input/BAD_INPUT.md).", kinds >= 60


def _titled(title: str, columns: str) -> Iterator[Line]:
    yield from ((line, True) for line in ("", f"## {title}", "", columns, "|---|---|"))


def _summed(name: str, series: Iterator[Counts]) -> Counts:
    """Add up a series, and tell on stderr how far it is."""
    total, told = Counts(), time.monotonic()
    for counts in series:
        total += counts
        if time.monotonic() - told > _TELL_EVERY_S:
            told = time.monotonic()
            print(f"{name}: {total.faults:,} so far", file=sys.stderr, flush=True)
    return total


def _slow_tests() -> Iterator[Line]:
    command = [sys.executable, "-m", "pytest", "-m", "slow", "-vv", "--tb=short", *_SLOW_TESTS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"XLM_CHAOS": "1"}) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if found := _OUTCOME.match(line):
                name, outcome = found[1].replace("_", " "), found[2].lower()
                yield f"| {name} | {outcome} |", outcome in ("passed", "skipped")
            else:
                print(line, end="", file=sys.stderr)
    if run.returncode:
        yield f"| pytest ended with status {run.returncode} | |", False


def _row(name: str, counts: Counts) -> str:
    completed = f"{counts.completed:,} of {counts.runs:,}"
    return (
        f"| {name} | {counts.faults:,} | {counts.points:,} | {completed} | {counts.rows_lost} | {counts.rows_doubled} |"
    )


def _is_good(counts: Counts) -> bool:
    return counts.completed == counts.runs and not counts.rows_lost and not counts.rows_doubled


if __name__ == "__main__":
    sys.exit(main())
