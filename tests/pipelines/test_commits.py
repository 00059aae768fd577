"""What a run has done, against what its job's policy allows."""

import io

import pyarrow as pa
import pytest
from rich.console import Console

from pipelines.corpus.plan import PLAN
from pipelines.job.job import PolicySettings
from pipelines.output.directory import Output
from pipelines.run.commits import Commits
from pipelines.run.progress import Progress
from pipelines.storage import locate
from tests.pipelines.test_ledger import record


@pytest.mark.parametrize(
    ("rejected", "statuses"),
    [
        ([2, 0], ["interrupted", "complete"]),  # 2 of 100 so far, but of 200 in the end
        ([4, 0], ["too many rejected rows", "too many rejected rows"]),
        ([1, 3], ["interrupted", "too many rejected rows"]),
    ],
)
def test_a_run_that_may_go_on_is_interrupted_and_not_over_its_limit(tmp_path, rejected, statuses):
    records = [
        record(i, rows_in=100, rows_out=100 - n, rows_rejected=n, precision="float32", error=None, fatal=False)
        for i, n in enumerate(rejected)
    ]
    plan = [dict.fromkeys(PLAN.names, 0) | {"shard": r["shard"], "file": "f", "num_rows": 100} for r in records]
    output = Output(locate(str(tmp_path)))
    with output.lock() as lock:
        progress = Progress(Console(file=io.StringIO()), 200)
        policy = PolicySettings(max_rejected=0.015)
        commits = Commits(output, lock, policy, pa.Table.from_pylist(plan, PLAN), {}, progress)
        found: list[str] = []
        for result in records:
            commits.take(result)
            commits.append()
            found.append(commits.status)
    assert found == statuses
