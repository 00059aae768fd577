"""Writes fail: no incomplete file is published, the error is one line, and the next run completes."""

import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.driver.check_rounds import check_rounds
from tests.chaos.driver.driver_faults import fail_write, run_round
from tests.chaos.driver.scenarios import RunResult, Scenario, run_in_fork, run_job, run_job_with_file_size_limit


@pytest.mark.parametrize("repeat", [False, True])
def test_error_in_the_middle_of_a_write_publishes_nothing(scenarios, tmp_path, repeat):
    """One write of each file, in a random scenario. `make chaos` makes every write fail."""
    writes: dict[str, list[tuple[Scenario, int]]] = {}
    for scenario in scenarios.values():
        points = [point for point in scenario.result.points if point.endswith("half")]
        for number, point in enumerate(points):
            writes.setdefault(point, []).append((scenario, number))
    rounds = []
    for point, found in writes.items():
        scenario, number = random.choice(found)
        rounds.append((scenario, f"write {number} ({point}) fails", [fail_write(number, repeat=repeat)]))
    check_rounds(rounds, tmp_path)


@pytest.mark.parametrize("max_bytes", [0, 300, 2000, 4000])
def test_file_size_limit_publishes_no_truncated_file(scenarios, tmp_path, max_bytes):
    """The kernel fails writes beyond the limit with EFBIG."""

    def fault(job: object, _: object) -> RunResult | None:
        return run_in_fork(run_job_with_file_size_limit, job, max_bytes)

    done = run_round(scenarios["first_run"], tmp_path / "out", fault)
    assert not done.problems
    assert done.num_faults == 1
    [error] = done.errors
    assert "\n" not in error
    assert str(tmp_path / "out") in error
    assert "no space left" in error or "not usable as output" in error


@contextmanager
def small_disk(folder: Path, size_kb: int) -> Iterator[Path]:
    """Mount a file system of a given size."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size_kb}k", "none", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("free_kb", [4, 24, 40, 60])
def test_full_disk_ends_the_run_with_one_line_and_the_next_run_completes(scenarios, tmp_path, free_kb):
    with small_disk(tmp_path / "disk", 1024) as disk:

        def fill_disk(job: object, _: object) -> RunResult | None:
            filler = disk / "filler"
            filler.write_bytes(bytes((1024 - free_kb) * 1024))
            result = run_in_fork(run_job, job)
            filler.unlink()
            return result

        done = run_round(scenarios["first_run"], disk / "out", fill_disk)
    assert not done.problems
    assert done.num_faults == 1
    [error] = done.errors
    assert "\n" not in error
    assert f"{disk}/out" in error
