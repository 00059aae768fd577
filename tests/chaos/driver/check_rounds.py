"""Run several rounds at the same time, and check them."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.chaos.driver.driver_faults import Fault, run_round
from tests.chaos.driver.scenarios import Scenario


def check_rounds(rounds: list[tuple[Scenario, str, list[Fault]]], folder: Path) -> None:
    """Run rounds, each with a description. Check that each fault has an effect and no round has a problem."""

    def run(number: int) -> str:
        scenario, description, faults = rounds[number]
        done = run_round(scenario, folder / f"out-{number}", *faults)
        problems = list(done.problems)
        if done.rows_lost or done.rows_duplicated:
            problems.append(f"{done.rows_lost} rows lost, {done.rows_duplicated} duplicated")
        if not done.num_faults:
            problems.append("the fault had no effect")
        problems += [f"more than one line: {error!r}" for error in done.errors if "\n" in error]
        return "".join(f"\n{scenario.name}, {description}: {problem}" for problem in problems)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = "".join(pool.map(run, range(len(rounds))))
    assert not problems
