"""Inject all faults: `python -m tests.chaos.run FILE` writes the results to a Markdown file.

A series of faults kills a process or makes a request or a write fail, many times. After each fault a run resumes, and
its rows are compared with those of a run without faults. The slow tests, and the check that each safeguard is needed,
run at the same time.
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
from tests.chaos.fault_counts import FaultCounts
from tests.chaos.safeguards import failing_tests
from tests.chaos.stores import store_faults
from tests.chaos.workers import worker_faults

SERIES: dict[str, Callable[[random.Random], Iterator[FaultCounts]]] = {
    "requests to an object store fail, or the driver is killed at a request": store_faults.run_series,
    "the driver is killed at a change of the output, or a write fails": driver_faults.run_series,
    "readers, tokenizers, models and writers are killed": worker_faults.run_series,
}
MIN_FAULTS = 300
MIN_KINDS = 60

_SLOW_TESTS = ["tests/flow", "tests/real", "tests/chaos"]
_OUTCOME = re.compile(r"tests/\S+?::test_(.*) (PASSED|FAILED|ERROR|SKIPPED)\b")

_PROGRESS_EVERY_S = 30.0


Line = tuple[str, bool]  # a line of the report, and whether its result is as required


def main() -> int:
    """Run everything. Return 0 if all results are as required, 1 otherwise."""
    target, seed = Path(sys.argv[1]), random.randrange(2**32)
    print(f"seed {seed}", file=sys.stderr)
    start = time.monotonic()
    with ThreadPoolExecutor() as pool:  # the tests wait most of the time, so they run alongside the rest
        series = chain(_run_all_series(random.Random(seed)), _check_safeguards())
        lines = [*chain(*pool.map(_print_lines, (series, _run_tests())))]
    minutes = (time.monotonic() - start) / 60
    head = ["# Faults", "", f"Written by `make chaos` in {minutes:.0f} minutes on {os.cpu_count()} cores.", ""]
    target.write_text("\n".join([*head, *(line for line, _ in lines)]) + "\n", encoding="utf-8")
    passed = all(is_good for _, is_good in lines)
    print(f"{target}: {'all results are as required' if passed else 'SOME RESULTS ARE NOT AS REQUIRED'}")
    return 0 if passed else 1


def _print_lines(lines: Iterator[Line]) -> list[Line]:
    """Print lines as they arrive, and return them."""
    printed: list[Line] = []
    for line in lines:
        print(line[0], flush=True)
        printed.append(line)
    return printed


def _run_all_series(rng: random.Random) -> Iterator[Line]:
    os.nice(5)  # of this thread, and of the threads and processes that it starts
    yield "| faults | injected | distinct fault points | runs completed | rows lost | rows duplicated |", True
    yield "|---|---|---|---|---|---|", True
    total = FaultCounts()
    with ThreadPoolExecutor(2) as pool:  # the runs on object stores wait most of the time, so two series run at a time
        results = {
            name: pool.submit(_run_series, name, series(random.Random(rng.random()))) for name, series in SERIES.items()
        }
        for name, result in results.items():
            try:
                counts = result.result()
            except Exception as error:
                traceback.print_exc()
                yield f"| {name} | ended with {type(error).__name__} | | | | |", False
                continue
            yield _format_counts(name, counts), counts.is_good
            total += counts
    yield _format_counts("**all**", total), total.is_good and total.num_faults >= MIN_FAULTS


def _run_series(name: str, series: Iterator[FaultCounts]) -> FaultCounts:
    """Add up the counts of a series. Progress is printed on stderr."""
    total, last_progress = FaultCounts(), time.monotonic()
    for counts in series:
        total += counts
        if time.monotonic() - last_progress > _PROGRESS_EVERY_S:
            last_progress = time.monotonic()
            print(f"{name}: {total.num_faults:,} so far", file=sys.stderr, flush=True)
    return total


def _format_counts(name: str, counts: FaultCounts) -> str:
    completed = f"{counts.num_completed:,} of {counts.num_runs:,}"
    faults = f"{counts.num_faults:,} | {counts.num_points:,}"
    return f"| {name} | {faults} | {completed} | {counts.rows_lost} | {counts.rows_duplicated} |"


def _check_safeguards() -> Iterator[Line]:
    yield from _table_head("Without a safeguard", "| if it is removed | the test that fails |")
    for name, test in failing_tests():
        yield f"| {name} | {f'`{test}`' if test else 'NONE'} |", test is not None


def _run_tests() -> Iterator[Line]:
    yield from _table_head("Slow tests", "| test | result |")
    yield from _run_slow_tests()
    num_kinds = len(list(catalogue.kind_names()))
    yield "", True
    yield (
        f"The results of {num_kinds} kinds of bad input: [BAD_INPUT.md](bad_input/BAD_INPUT.md).",
        num_kinds >= MIN_KINDS,
    )


def _table_head(title: str, columns: str) -> Iterator[Line]:
    yield from ((line, True) for line in ("", f"## {title}", "", columns, "|---|---|"))


def _run_slow_tests() -> Iterator[Line]:
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


if __name__ == "__main__":
    sys.exit(main())
