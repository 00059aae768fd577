"""Kinds of bad input by outcome: the job is refused, a shard fails, or the input has no effect.

Rows that are rejected are the fourth outcome; see `row_cases.py`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from pipelines.job import Job
from tests.chaos.bad_input.trial_job import GOOD_ROWS, Change, TrialJob, hang_limit
from tests.flow.in_process import read_output, run_stages

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Refused:
    """Input with which no job can work: the job ends with exit status 2 before Ray starts, and writes nothing.

    Attributes:
        name: what is wrong.
        change: damages the job.
        message: part of the error message, without anything that depends on the machine.
    """

    name: str
    change: Change
    message: str

    def check(self, folder: Path, demo: Path) -> str:
        """Run the job, check that it is refused, and return the error message."""
        job = TrialJob(folder, demo)
        self.change(job)
        before = job.read_output_files()
        status, printed = job.run()
        assert status == 2, f"{self.name}: exit status {status}: {printed}"
        lines = [line for line in printed.splitlines() if ": checking the input and the checkpoint" not in line]
        assert lines, f"{self.name}: nothing was printed"
        for line in lines:
            assert line.startswith("xlm: "), f"{self.name}: {printed}"
            assert len(line) < 1000 + 2 * len(str(folder)), f"{self.name}: a line has {len(line)} characters"
        assert self.message in printed, f"{self.name}: expected {self.message!r} in {printed!r}"
        assert job.read_output_files() == before, f"{self.name}: the output was changed"
        return "; ".join(_without_paths(line, folder, demo).removeprefix("xlm: ") for line in lines)


@dataclass(frozen=True)
class Harmless:
    """Unusual input that gives the same results as ordinary input.

    Attributes:
        name: what is unusual.
        change: makes the job's input unusual.
        ordinary: makes the ordinary input to compare with.
    """

    name: str
    change: Change
    ordinary: Change = lambda _: None

    def check(self, folder: Path, demo: Path) -> str:
        """Run both jobs and compare their results."""
        results: list[pa.Table] = []
        for change, name in ((self.ordinary, "ordinary"), (self.change, "unusual")):
            job = TrialJob(folder / name, demo)
            change(job)
            results.append(job.compute_results())
        ordinary, unusual = results
        assert len(ordinary), f"{self.name}: no results to compare"
        assert unusual.column_names == ordinary.column_names
        for name in ordinary.column_names:
            assert unusual[name].to_pylist() == ordinary[name].to_pylist(), f"{self.name}: {name} differs"
        return "the same results as ordinary input"


@dataclass(frozen=True)
class FailsShard:
    """A file whose damage is found only when its rows are read: its shard fails, and those of other files complete.

    Attributes:
        name: what is damaged.
        change: adds the file to the corpus.
        message: part of the shard's error message.
    """

    name: str
    change: Change
    message: str

    def check(self, folder: Path, demo: Path) -> str:
        """Run the job over a good file and the damaged one, and return the failed shard's error message."""
        job = TrialJob(folder, demo)
        self.change(job)
        num_rows = [pq.read_metadata(file).num_rows for file in job.corpus.glob("*.parquet")]
        job.settings["output"]["rows_per_shard"] = max(num_rows)  # a shard for each file
        with hang_limit():
            results = run_stages(Job.model_validate(job.settings))
        (error,) = (result.failure.message for result in results if result.failure is not None)
        assert self.message in error, f"{self.name}: expected {self.message!r} in {error!r}"
        assert "\n" not in error
        assert [result.record.rows_out for result in results if result.record is not None] == [len(GOOD_ROWS)]
        assert read_output(str(job.out)).num_rows == len(GOOD_ROWS)
        return f"the shard fails, other shards complete: {_without_paths(error, folder, demo)}"


def _without_paths(line: str, folder: Path, demo: Path) -> str:
    """Remove from a message what differs between two trials."""
    for path in (folder, demo, Path.cwd()):
        line = line.replace(f"{path}/", "").replace(str(path), ".")
    return re.sub(r"ledger/\d{20}-[0-9a-f]{8}", "ledger/…", line)
