"""Commits: the status of a run, given its results and the limits of the job's policy."""

import io

import pytest
from rich.console import Console

from pipelines.corpus.planned_shard import plan_table
from pipelines.job.sections import PolicySettings
from pipelines.output.directory import Output
from pipelines.output.resume import compare_with_plan
from pipelines.output.shard_record import ShardResult
from pipelines.run.commits import Commits
from pipelines.run.progress import Progress
from pipelines.run.run_metrics import RunMetrics
from pipelines.status import RunFile
from pipelines.storage import locate
from tests.pipelines.corpus.shards import one_member
from tests.pipelines.output.shard_records import make_record


@pytest.mark.parametrize(
    ("rejected", "statuses"),
    [
        ([2, 0], ["interrupted", "complete"]),  # 2 of the first 100 rows, but of 200 rows in the end
        ([4, 0], ["too many rejected rows", "too many rejected rows"]),
        ([1, 3], ["interrupted", "too many rejected rows"]),
    ],
)
def test_status_counts_remaining_rows_against_max_rejected(tmp_path, rejected, statuses):
    records = [
        make_record(number, rows_in=100, rows_out=100 - num_rejected, rows_rejected=num_rejected)
        for number, num_rejected in enumerate(rejected)
    ]
    plan = plan_table(one_member(r.shard, 100) for r in records)
    output = Output(locate(str(tmp_path)))
    with output.lock() as lock:
        progress = Progress(Console(file=io.StringIO()), 200)
        policy, run_file, metrics = (
            PolicySettings(max_rejected=0.015),
            RunFile(output, lock.holder, progress.started_s),
            RunMetrics("", 2, 200),
        )
        commits = Commits(output, lock, policy, compare_with_plan(output, plan, {}), progress, run_file, metrics)
        found: list[str] = []
        for r in records:
            commits.take(ShardResult(r.shard, r))
            commits.append()
            found.append(commits.status(output.ledger.load()))
    assert found == statuses
