"""Outputs at which no results may be written, or of which the records of earlier runs are damaged."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.job.job import Job
from pipelines.output.directory import Output
from pipelines.output.shard_record import RECORD
from pipelines.run.prepare import prepare_job
from pipelines.storage import locate
from tests.chaos.bad_input.bench import GOOD, Bench, Refused, Spoil
from tests.flow.in_process import run_to_records


def begun(change: Callable[[Bench], Any]) -> Spoil:
    """Have an earlier run of the job in the output, killed before its end, and spoil what it left."""

    def spoil(bench: Bench) -> None:
        job = Job.model_validate(bench.settings)
        records = run_to_records(job)
        prepared = prepare_job(job)
        output = Output(locate(str(bench.out)))
        output.begin(prepared.description, prepared.plan.shards)
        output.ledger.append(records)
        change(bench)

    return spoil


def inner(bench: Bench, name: str, data: str | bytes) -> None:
    """Put a file below `_xlm`."""
    path = bench.out / "_xlm" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def ledger(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Spoil:
    """Change every record of an earlier run."""

    def rewrite(bench: Bench) -> None:
        for path in (bench.out / "_xlm" / "ledger").iterdir():
            rows = [change(row) for row in pq.read_table(path).to_pylist(maps_as_pydicts="strict")]
            pq.write_table(pa.Table.from_pylist(rows, RECORD), path)

    return begun(rewrite)


def _strangers(bench: Bench) -> None:
    bench.out.mkdir()
    (bench.out / "thesis.docx").write_text("years of work", encoding="utf-8")


def _another_job(bench: Bench) -> None:
    bench.set("tokenizer.max_length", 64)


def _a_file(bench: Bench) -> None:
    bench.out.write_text("no directory", encoding="utf-8")


def _below_a_file(bench: Bench) -> None:
    (bench.folder / "file").write_text("no directory", encoding="utf-8")
    bench.set("output.path", f"{bench.folder}/file/out")


def _loop(bench: Bench) -> None:
    bench.out.symlink_to(bench.out.name)


def _damaged_plan(bench: Bench) -> None:
    inner(bench, "plan.parquet", b"PAR1 no more")
    bench.set("tokenizer.max_length", 64)


OUTPUTS = [
    Refused("an output that holds a stranger's files", _strangers, "contains files that were not written by a job"),
    Refused("an output that holds another job's results", begun(_another_job), "contains the results of another job"),
    Refused("a file for an output", _a_file, "not usable as output"),
    Refused("an output below a file", _below_a_file, "not usable as output"),
    Refused("an output that is a link to itself", _loop, "not usable as output"),
    Refused("an output within the input", lambda b: b.set("output.path", f"{b.corpus}/out"), "is inside input.path"),
    Refused("an output that is the input", lambda b: b.set("output.path", str(b.corpus)), "is inside input.path"),
    Refused(
        "an output in the memory of a process",
        lambda b: b.set("output.path", "memory://out"),
        "workers cannot reach the driver's memory",
    ),
    Refused("an output of no known kind", lambda b: b.set("output.path", "nope://out"), "nothing here reads nope://"),
    *(
        Refused(f"a job.json that {name}", lambda b, text=text: inner(b, "job.json", text), "job.json: damaged")
        for name, text in {
            "is cut off": "{",
            "is empty": "",
            "is null": "null",
            "is a list": "[]",
            "says nothing": "{}",
            "is no UTF-8": b"\xff\xfe",
            "nests without end": "[" * 100_000,
            "has text for a fingerprint": '{"spec": {}, "fingerprint": "x"}',
            "has a list for a spec": '{"spec": [], "fingerprint": {}}',
        }.items()
    ),
    Refused(
        "a ledger that is no Parquet",
        begun(lambda b: inner(b, "ledger/0.parquet", b"PAR1 no more")),
        "a damaged ledger file; delete it",
    ),
    Refused(
        "a ledger of other columns",
        begun(lambda b: pq.write_table(GOOD, b.out / "_xlm" / "ledger" / "0.parquet")),
        "a damaged ledger file; delete it",
    ),
    Refused(
        "a ledger that names a path out of the output",
        ledger(lambda row: row | {"shard": "../../escaped"}),
        "a damaged ledger file; delete it",
    ),
    Refused(
        "a ledger that names a part that is no part",
        ledger(lambda row: row | {"part": "../../escaped.parquet"}),
        "a damaged ledger file; delete it",
    ),
    Refused("a plan that is damaged, of another job", begun(_damaged_plan), "contains the results of another job"),
]
