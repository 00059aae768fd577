"""Rounds of a scenario: runs that a fault ends, a check of what each leaves, and a last run that has to complete."""

import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.job import Job
from pipelines.output import part_name
from tests.chaos.driver.fault_points import fail_write_at, ignore_points, kill_at
from tests.chaos.driver.output_contents import count_rows, find_differences, read_contents, read_contents_once
from tests.chaos.driver.scenarios import (
    RunResult,
    Scenario,
    copy_start,
    make_scenarios,
    run_in_fork,
    run_job,
    with_output,
)
from tests.chaos.fault_counts import FaultCounts
from tests.small_job import write_small_job

DOUBLE_KILLS = 100  # in a full series; there are about 200,000 pairs of fault points


# Runs a job, with reasons to retry, until a fault ends the run. Returns the result; None if the run was killed.
Fault = Callable[[Job, Sequence[str]], RunResult | None]


class Round(NamedTuple):
    """The result of one round.

    Attributes:
        num_faults: faults that had an effect: the run was killed, ended with an error, or had failed shards.
        problems: a line for each result that is not as required.
        rows_lost: rows that are missing after the last run.
        rows_duplicated: rows that were in the output more than once at any time.
        errors: the errors of the runs that were not killed.
    """

    num_faults: int
    problems: list[str]
    rows_lost: int
    rows_duplicated: int
    errors: list[str]


def kill(number: int) -> Fault:
    """Kill the run at the fault point with a number."""
    return lambda job, retry: run_in_fork(run_job, job, partial(kill_at, number), retry)


def fail_write(number: int, *, repeat: bool = False) -> Fault:
    """Make the write with a number fail in the middle; with `repeat`, all later writes as well."""
    return lambda job, retry: run_in_fork(run_job, job, partial(fail_write_at, number, repeat=repeat), retry)


def run_round(scenario: Scenario, out: Path, *faults: Fault) -> Round:
    """Run a scenario with each fault, one after the other, and then without faults."""
    copy_start(scenario, out)
    job, expected = with_output(scenario.job, out), count_rows(scenario.end)
    problems, errors, num_faults, duplicated = list[str](), list[str](), 0, 0
    for fault in faults:
        result = fault(job, scenario.retry_rejected)
        num_faults += result is None or result.outcome != scenario.result.outcome
        if result is not None and result.error is not None:
            errors.append(result.error)
        problems += _find_inconsistencies(scenario, out)
        duplicated += sum(number - 1 for number in count_rows(out, rejected=False).values())
    result = run_in_fork(run_job, job, ignore_points, scenario.retry_rejected)
    if result.outcome != scenario.result.outcome:
        problems.append(f"the outcome of the last run is {result.outcome}, expected {scenario.result.outcome}")
    problems += find_differences(read_contents(out), read_contents_once(scenario.end))
    found = count_rows(out)
    return Round(num_faults, problems, (expected - found).total(), duplicated + (found - expected).total(), errors)


def _find_inconsistencies(scenario: Scenario, out: Path) -> Iterator[str]:
    """Check an output after a fault: visible files are complete, and nothing unfinished is marked as done."""
    start, end, found = read_contents_once(scenario.start), read_contents_once(scenario.end), read_contents(out)
    results = {name for name in found if "part-" in name and not Path(name).name.startswith(".")}
    for name in results:
        if found[name] not in (start.get(name), end.get(name)):
            yield f"{name} is neither the file before the run nor the one after it"
    for path in out.glob("data/*"):
        if f"data/{path.name}" not in results:
            yield f"{path.name} is unexpected"
    ledgers: list[Any] = [start["ledger"], end["ledger"], found["ledger"]]
    for shard in ledgers[2].keys() - ledgers[0].keys():
        if found.get(f"data/{part_name(shard)}") != end.get(f"data/{part_name(shard)}"):
            yield f"shard {shard} has a record, but not its part"
    if "_SUCCESS" in found and not any(
        complete.get("_SUCCESS") and not find_differences(_select_results(found), _select_results(complete))
        for complete in (start, end)
    ):
        yield "_SUCCESS exists in an output that is not complete"


def _select_results(found: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in found.items() if "/part-" in f"/{name}" or name == "ledger"}


def run_series(rng: random.Random) -> Iterator[FaultCounts]:
    """Kill runs at every fault point of every scenario and at pairs of points, and make each write fail.

    Problems are printed on stderr.
    """
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        checkpoint = write_small_job(Path(folder) / "demo").parent / "checkpoint"
        scenarios = make_scenarios(Path(folder) / "scenarios", checkpoint)
        plans = [plan for scenario in scenarios for plan in _plan_every_fault(scenario)]
        plans += [_plan_two_kills(rng, rng.choice(scenarios)) for _ in range(DOUBLE_KILLS)]

        def run_plan(number: int) -> FaultCounts:
            scenario, description, faults = plans[number]
            done = run_round(scenario, out := Path(folder) / f"out-{number}", *faults)
            shutil.rmtree(out)
            if not done.num_faults:
                done.problems.append("the fault had no effect")
            for problem in done.problems:
                print(f"{scenario.name}, {description}: {problem}", file=sys.stderr)
            return FaultCounts(done.num_faults, 0, 1, not done.problems, done.rows_lost, done.rows_duplicated)

        yield FaultCounts(num_points=sum(len(scenario.result.points) for scenario in scenarios))
        yield from pool.map(run_plan, range(len(plans)))


def _plan_every_fault(scenario: Scenario) -> Iterator[tuple[Scenario, str, list[Fault]]]:
    num_writes = 0
    for number, point in enumerate(scenario.result.points):
        yield scenario, f"killed at {number} ({point})", [kill(number)]
        if point.endswith("half"):
            yield scenario, f"write {num_writes} ({point}) fails", [fail_write(num_writes)]
            yield scenario, f"every write from {num_writes} ({point}) fails", [fail_write(num_writes, repeat=True)]
            num_writes += 1


def _plan_two_kills(rng: random.Random, scenario: Scenario) -> tuple[Scenario, str, list[Fault]]:
    first, second = (rng.randrange(len(scenario.result.points)) for _ in range(2))
    return scenario, f"killed at {first}, then at {second}", [kill(first), kill(second)]


def main() -> None:
    """Print all fault points, and the counts of a full series of faults."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = write_small_job(Path(folder) / "demo").parent / "checkpoint"
        scenarios = make_scenarios(Path(folder) / "scenarios", checkpoint)
    points = Counter(point for scenario in scenarios for point in scenario.result.points)
    for point, number in sorted(points.items()):
        print(f"{number:5} × {point}")
    seed = random.randrange(2**32)
    print(f"seed {seed}: {sum(run_series(random.Random(seed)), FaultCounts())}")


if __name__ == "__main__":
    main()
