"""The driver is killed at any change of its output: visible files are complete, and the next run completes."""

import random
import shutil
from collections import Counter
from collections.abc import Sequence
from functools import partial

from pipelines.output import Output
from pipelines.storage import locate
from tests.chaos.driver.check_rounds import check_rounds
from tests.chaos.driver.driver_faults import kill
from tests.chaos.driver.fault_points import exit_if_change_is_missed, kill_at
from tests.chaos.driver.output_contents import count_rows, find_differences, read_contents, read_contents_once
from tests.chaos.driver.scenarios import Scenario, copy_start, run_in_fork, run_job, with_output

# The steps of an atomic write, and the files that a run writes atomically.
STEPS = ("create", "write", "fsync", "rename")
FILES = ("part", "rejected", "ledger", "job.json", "plan.parquet", "run.json", "report.json", "report.html", "_SUCCESS")


def test_every_change_of_the_output_has_a_fault_point(scenarios):
    """Includes changes that the product may make in the future."""
    for scenario in scenarios.values():
        out = scenario.start.with_name("watched")
        copy_start(scenario, out)
        handler = partial(exit_if_change_is_missed, out)
        result = run_in_fork(run_job, with_output(scenario.job, out), handler, scenario.retry_rejected)
        assert result.points == scenario.result.points  # so each number is the same fault point in every run
        shutil.rmtree(out)
    steps = {point.rpartition(",")[0] for scenario in scenarios.values() for point in scenario.result.points}
    assert steps >= {f"{file}: {step}" for file in FILES for step in STEPS}
    assert steps >= {f"{file}: delete" for file in ("part", "rejected", "ledger", "_SUCCESS")}
    assert steps >= {f"{folder} folder: make" for folder in ("output", "inner", "rejected", "ledger")}


def test_scenarios_without_faults_have_the_expected_rows(scenarios):
    """All rounds are compared with these outputs."""
    written = {"first_run": "a1 a2 a3 b1", "files_changed": "n1 b1 a1 a4 a2"}
    rejected = {"first_run": "a2 b2", "files_changed": "n2 b1 b2"}
    for name, ids in written.items():
        end = scenarios[name].end
        assert count_rows(end, rejected=False) == Counter(ids.split())
        assert count_rows(end) == Counter([*ids.split(), *rejected[name].split()])
    for name, scenario in scenarios.items():
        status = "complete except for failed shards" if name == "shard_fails" else "complete"
        assert scenario.result.outcome == (status, 2 if name == "shard_fails" else 0)
        assert (scenario.end / "_SUCCESS").exists() == (name != "shard_fails")
    for name in ("parts_missing", "partly_done", "retry_rejected", "nothing_to_do"):
        assert count_rows(scenarios[name].end) == count_rows(scenarios["first_run"].end)
    assert scenarios["nothing_to_do"].result.points == ["the run: end"]


def test_next_run_completes_after_a_kill_at_each_named_point(scenarios, tmp_path):
    """One kill per name that changes a file, in a random scenario. `make chaos` kills at every point."""
    occurrences: dict[str, list[tuple[Scenario, int]]] = {}
    for scenario in scenarios.values():
        for number, point in enumerate(scenario.result.points):
            if changes_files(scenario.result.points, number):
                occurrences.setdefault(point, []).append((scenario, number))
    rounds = []
    for point, found in occurrences.items():
        scenario, number = random.choice(found)
        rounds.append((scenario, f"killed at {number} ({point})", [kill(number)]))
    check_rounds(rounds, tmp_path)


def test_kill_while_ledger_files_are_merged_loses_no_record(scenarios, tmp_path):
    """A part without its record would be computed again, or read again to prove itself."""
    scenario = scenarios["first_run"]
    points = scenario.result.points
    commits = [number for number, point in enumerate(points) if point == "ledger: rename, after"]
    third, merged = commits[2:4]  # two commits are merged by the third one
    deleted = [number for number, point in enumerate(points) if point == "ledger: delete, after"]
    assert third < merged < deleted[0]
    assert len(deleted) == 3
    for number in range(third, deleted[-1] + 1):
        if changes_files(points, number):
            out = tmp_path / f"out-{number}"
            assert run_in_fork(run_job, with_output(scenario.job, out), partial(kill_at, number)) is None
            records = list(Output(locate(str(out))).ledger.load())
            assert len(records) == len({record.shard for record in records}) == 3
            assert run_in_fork(run_job, with_output(scenario.job, out)).outcome == scenario.result.outcome
            assert not find_differences(read_contents(out), read_contents_once(scenario.end))


def changes_files(points: Sequence[str], number: int) -> bool:
    """Return whether the files of the output differ from those at the fault point before this one.

    The first test checks that they are the same before each change.
    """
    return number == 0 or not points[number].endswith(("before", "fsync, after"))


def test_next_run_completes_after_three_runs_are_killed(scenarios, tmp_path):
    rounds = []
    for scenario in scenarios.values():
        numbers = [random.randrange(len(scenario.result.points)) for _ in range(3)]
        rounds.append((scenario, f"killed at {numbers}", [kill(number) for number in numbers]))
    check_rounds(rounds, tmp_path)
