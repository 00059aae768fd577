"""Other writers, another driver, a rewritten corpus and lost rows do not corrupt an output."""

import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pipelines.job import Job
from pipelines.output import Output
from pipelines.storage import locate
from tests.chaos.driver.fault_points import call_once_at
from tests.chaos.driver.output_contents import count_rows, read_contents, read_contents_once
from tests.chaos.driver.scenarios import (
    RunResult,
    Scenario,
    copy_start,
    run_in_fork,
    run_job,
    run_job_losing_rows,
    run_job_while_rewriting,
    with_output,
    write_file,
)


def test_part_that_is_written_again_later_does_not_change_the_output(scenarios, tmp_path):
    """By a writer that was given up: when another writer's part is committed already, and after the end of the run."""
    scenario, out = scenarios["first_run"], tmp_path / "out"
    part = str(next(scenario.end.glob("data/*")).relative_to(scenario.end))
    write_again = partial(shutil.copy, scenario.end / part, out / part)
    handler = partial(call_once_at, "report.json: create, before", write_again)
    result = run_in_fork(run_job, with_output(scenario.job, out), handler)
    assert result.outcome == scenario.result.outcome
    assert read_contents(out) == read_contents_once(scenario.end)
    write_again()
    assert run_in_fork(run_job, with_output(scenario.job, out)).outcome == scenario.result.outcome
    assert read_contents(out) == read_contents_once(scenario.end)


@pytest.mark.parametrize("point", ["plan.parquet: rename, after", "ledger: rename, after", "part: create, before"])
def test_late_part_of_a_deleted_file_is_removed(scenarios, tmp_path, point):
    """A writer that was given up writes it after the run has removed stale parts."""
    scenario, out = scenarios["files_changed"], tmp_path / "out"
    copy_start(scenario, out)
    written = [file for folder in ("data", "_xlm/rejected") for file in (scenario.start / folder).iterdir()]
    stale = [
        str(file.relative_to(scenario.start)) for file in written if not (scenario.end / "data" / file.name).exists()
    ]
    assert any(name.startswith("data/") for name in stale)
    handler = partial(call_once_at, point, partial(copy_files, scenario.start, out, stale))
    result = run_in_fork(run_job, with_output(scenario.job, out), handler)
    assert result.outcome == scenario.result.outcome
    assert (out / "_SUCCESS").exists()
    assert read_contents(out) == read_contents_once(scenario.end)


def copy_files(source: Path, target: Path, names: list[str]) -> None:
    for name in names:
        shutil.copy(source / name, target / name)


def test_second_driver_is_refused(scenarios, tmp_path):
    scenario, out = scenarios["first_run"], tmp_path / "out"
    job = with_output(scenario.job, out)
    with Output(locate(str(out))).lock():
        assert "another run is writing here" in str(run_in_fork(run_job, job).error)
    assert not list(out.glob("data/*"))
    assert run_in_fork(run_job, job).outcome == scenario.result.outcome


def test_rows_that_a_stage_loses_fail_their_shard(scenarios, tmp_path):
    scenario, out = scenarios["first_run"], tmp_path / "out"
    for method, message in (
        ("pipelines.stages.infer.Infer.step", "infer: 2 rows went in, 1 came out and 0 were rejected"),
        ("pipelines.stages.write.Writer.write", "2 rows in, 1 out, 0 rejected"),
    ):
        result = run_in_fork(run_job_losing_rows, with_output(scenario.job, out), method)
        assert result.outcome == ("failed shards", 3)
        assert any(message in failure["error"] for failure in result.report["failed"])
        assert not count_rows(out, rejected=False)


def test_rewritten_file_of_the_same_size_is_computed_again(scenarios, tmp_path):
    """The two files differ in their modification time."""
    job, corpus = with_own_corpus(scenarios["first_run"], tmp_path)
    run_in_fork(run_job, job)
    write_file(corpus / "a.parquet", ["x1", "x2", "x3"])
    run_in_fork(run_job, job)
    assert count_rows(tmp_path / "out") == Counter(["x1", "x2", "x3", "b1", "a2", "b2"])


def with_own_corpus(scenario: Scenario, folder: Path) -> tuple[Job, Path]:
    """Return the job with an output and a copy of the corpus in a folder, and the copy."""
    shutil.copytree(str(scenario.job.input.path), corpus := folder / "corpus")
    job = with_output(scenario.job, folder / "out")
    return job.model_copy(update={"input": job.input.model_copy(update={"path": str(corpus)})}), corpus


def rewrite_after_planning(job: object, file: Path, ids: list[str]) -> RunResult:
    handler = partial(call_once_at, "plan.parquet: rename, after", partial(write_file, file, ids))
    return run_in_fork(run_job, job, handler)


def rewrite_while_reading(job: object, file: Path, ids: list[str]) -> RunResult:
    return run_in_fork(run_job_while_rewriting, job, file, ids)


@pytest.mark.parametrize("rewrite", [rewrite_after_planning, rewrite_while_reading])
def test_no_row_of_a_file_that_is_rewritten_during_the_run_is_written(
    scenarios, tmp_path, rewrite: Callable[..., RunResult]
):
    """The new file has the same size. The next run computes its rows."""
    job, corpus = with_own_corpus(scenarios["first_run"], tmp_path)
    before, ids = (corpus / "a.parquet").stat(), ["x1", "x2", "x3"]
    result = rewrite(job, corpus / "a.parquet", ids)
    after = (corpus / "a.parquet").stat()
    assert after.st_size == before.st_size
    assert after.st_mtime_ns != before.st_mtime_ns
    failures = result.report["failed"]
    assert len(failures) == 2
    assert all("changed after the plan was made" in failure["error"] for failure in failures)
    assert set(count_rows(tmp_path / "out")) == {"b1", "b2", "a2"}
    assert not (tmp_path / "out" / "_SUCCESS").exists()
    result = run_in_fork(run_job, job)
    assert result.outcome == ("complete", 0)
    assert set(count_rows(tmp_path / "out")) == {"b1", "b2", "a2", *ids}
    run_in_fork(run_job, with_output(job, tmp_path / "anew"))
    assert read_contents(tmp_path / "out") == read_contents(tmp_path / "anew")
