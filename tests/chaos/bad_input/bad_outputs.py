"""Outputs that cannot be written to, or that contain damaged files of an earlier run."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.job.job import Job
from pipelines.output.directory import Output
from pipelines.output.shard_record import RECORD
from pipelines.run.prepare import prepare_job
from pipelines.storage import locate
from tests.chaos.bad_input.outcomes import Refused
from tests.chaos.bad_input.trial_job import GOOD_ROWS, Change, TrialJob
from tests.flow.in_process import run_to_records


def after_killed_run(change: Callable[[TrialJob], Any]) -> Change:
    """Write the output of an earlier run of the job, which was killed before its end, and change it."""

    def write(job: TrialJob) -> None:
        earlier = Job.model_validate(job.settings)
        records = run_to_records(earlier)
        prepared = prepare_job(earlier)
        output = Output(locate(str(job.out)))
        output.begin(prepared.description, prepared.plan.shards)
        output.ledger.append(records)
        change(job)

    return write


def write_bookkeeping(job: TrialJob, name: str, data: str | bytes) -> None:
    """Write a file in `_xlm`."""
    path = job.out / "_xlm" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def change_records(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    """Change every record of an earlier run."""

    def rewrite(job: TrialJob) -> None:
        for path in (job.out / "_xlm" / "ledger").iterdir():
            rows = [change(row) for row in pq.read_table(path).to_pylist(maps_as_pydicts="strict")]
            pq.write_table(pa.Table.from_pylist(rows, RECORD), path)

    return after_killed_run(rewrite)


def _unrelated_file(job: TrialJob) -> None:
    job.out.mkdir()
    (job.out / "thesis.docx").write_text("some text", encoding="utf-8")


def _another_job(job: TrialJob) -> None:
    job.set("tokenizer.max_length", 64)


def _a_file(job: TrialJob) -> None:
    job.out.write_text("no directory", encoding="utf-8")


def _below_a_file(job: TrialJob) -> None:
    (job.folder / "file").write_text("no directory", encoding="utf-8")
    job.set("output.path", f"{job.folder}/file/out")


def _loop(job: TrialJob) -> None:
    job.out.symlink_to(job.out.name)


def _damaged_plan(job: TrialJob) -> None:
    write_bookkeeping(job, "plan.parquet", b"PAR1 no more")
    job.set("tokenizer.max_length", 64)


OUTPUTS = [
    Refused(
        "an output that contains an unrelated file", _unrelated_file, "contains files that were not written by a job"
    ),
    Refused(
        "an output that contains another job's results",
        after_killed_run(_another_job),
        "contains the results of another job",
    ),
    Refused("a file as the output", _a_file, "not usable as output"),
    Refused("an output inside a file", _below_a_file, "not usable as output"),
    Refused("an output that is a link to itself", _loop, "not usable as output"),
    Refused("an output inside the input", lambda b: b.set("output.path", f"{b.corpus}/out"), "is inside input.path"),
    Refused("an output that is the input", lambda b: b.set("output.path", str(b.corpus)), "is input.path"),
    Refused(
        "an output in the memory of one process",
        lambda b: b.set("output.path", "memory://out"),
        "workers cannot reach the driver's memory",
    ),
    Refused(
        "an output with an unknown URL scheme",
        lambda b: b.set("output.path", "nope://out"),
        "nope:// is not supported",
    ),
    *(
        Refused(
            f"a job.json that {name}", lambda b, text=text: write_bookkeeping(b, "job.json", text), "job.json: damaged"
        )
        for name, text in {
            "is truncated": "{",
            "is empty": "",
            "is null": "null",
            "is a list": "[]",
            "has no entries": "{}",
            "is not UTF-8": b"\xff\xfe",
            "is nested 100,000 levels deep": "[" * 100_000,
            "has a string as its fingerprint": '{"spec": {}, "fingerprint": "x"}',
            "has a list as its spec": '{"spec": [], "fingerprint": {}}',
        }.items()
    ),
    Refused(
        "a ledger file that is not Parquet",
        after_killed_run(lambda b: write_bookkeeping(b, "ledger/0.parquet", b"PAR1 no more")),
        "a damaged ledger file; delete it",
    ),
    Refused(
        "a ledger file with other columns",
        after_killed_run(lambda b: pq.write_table(GOOD_ROWS, b.out / "_xlm" / "ledger" / "0.parquet")),
        "a damaged ledger file; delete it",
    ),
    Refused(
        "a record whose shard is a path outside the output",
        change_records(lambda row: row | {"shard": "../../escaped"}),
        "a damaged ledger file; delete it",
    ),
    Refused(
        "a record whose part is a path outside the output",
        change_records(lambda row: row | {"part": "../../escaped.parquet"}),
        "a damaged ledger file; delete it",
    ),
    Refused("a damaged plan, of another job", after_killed_run(_damaged_plan), "contains the results of another job"),
]
