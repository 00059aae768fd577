"""Damaged bookkeeping files of an output are read, or rejected with an error message of one line."""

import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.preview.read import read_preview
from pipelines.corpus.planned_shard import is_plan, plan_schema, planned_shards
from pipelines.errors import FatalError
from pipelines.job import Job
from pipelines.output import Output, ShardRecord
from pipelines.output.ledger import Ledger
from pipelines.storage import encode_parquet, locate
from tests.chaos.bad_input.trial_job import TrialJob
from tests.chaos.fuzz.error_messages import check_message
from tests.chaos.fuzz.mutations import PARQUET_TOKENS, SLOW_IF_THOROUGH, examples, mutated_bytes, mutated_json
from tests.flow.in_process import run_to_records
from tests.pipelines.output.shard_records import make_record

pytestmark = SLOW_IF_THOROUGH


def _two_rows(schema: pa.Schema) -> pa.Table:
    """Make a table of two rows with simple values."""
    plain = {pa.string(): "a", pa.int64(): 1, pa.int32(): 1, pa.float64(): 0.5}
    return pa.Table.from_pylist([{f.name: plain.get(f.type, []) for f in schema}] * 2, schema)


def _write_ledger_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        Ledger(locate(folder)).append([make_record(1), make_record(2)])
        (file,) = Path(folder).glob("*.parquet")
        assert len(Ledger(locate(folder)).load()) == 2
        return file.read_bytes()


LEDGER_FILE = _write_ledger_file()


@examples(150, 2_000)
@given(data=st.one_of(st.binary(max_size=64), mutated_bytes(LEDGER_FILE, tokens=PARQUET_TOKENS)))
def test_ledger_of_any_bytes_loads_or_is_rejected(folder, data):
    (folder / "ledger").mkdir(exist_ok=True)
    (folder / "ledger" / "0.parquet").write_bytes(data)
    try:
        records = list(Ledger(locate(str(folder / "ledger"))).load())
    except FatalError as error:
        check_message(error, "0.parquet: a damaged ledger file; delete it", max_lines=1)
    else:
        assert all(ShardRecord.from_row(record.to_row()) == record for record in records)


@examples(100, 3_000)
@given(
    data=st.one_of(
        st.binary(max_size=64), mutated_bytes(encode_parquet(_two_rows(plan_schema())), tokens=PARQUET_TOKENS)
    )
)
@example(encode_parquet(_two_rows(plan_schema())).to_pybytes().replace(b"row_group", b"row_grou\xf2"))
@example(encode_parquet(_two_rows(plan_schema())).to_pybytes().replace(b"shard", b"shar\xf2"))
def test_plan_of_any_bytes_gives_a_number_of_shards_or_none(folder, data):
    (folder / "out" / "_xlm").mkdir(parents=True, exist_ok=True)
    (folder / "out" / "_xlm" / "plan.parquet").write_bytes(data)
    num_planned = Output(locate(str(folder / "out"))).num_planned()
    assert num_planned is None or num_planned >= 0
    plan = Output(locate(str(folder / "out"))).read_plan()
    if plan is not None and is_plan(plan.schema):
        assert len(planned_shards(plan)) == len(plan)


@examples(150, 2_000)
@given(
    saved=st.one_of(
        mutated_json(
            {"spec": {"name": "x", "input": {"id": None, "keep": ["a"]}}, "fingerprint": {"format": 2, "a": [1]}}
        ).map(lambda value: json.dumps(value).encode()),
        mutated_bytes(b'{"spec": {}, "fingerprint": {"format": 2, "tasks": [{"a": null}]}, "metadata": {}}'),
        st.just(b"[" * 20_000),
    )
)
def test_fingerprint_check_accepts_or_rejects_any_job_json(folder, saved):
    (folder / "done" / "_xlm").mkdir(parents=True, exist_ok=True)
    (folder / "done" / "_xlm" / "job.json").write_bytes(saved)
    output = Output(locate(str(folder / "done")))
    try:
        output.check_fingerprint({"format": 2, "tasks": [], "checkpoint": "abc"})
    except FatalError as error:
        check_message(error)


@pytest.fixture(scope="module")
def written_output(demo, folder) -> Path:
    """Write the output of a job of two rows."""
    job = TrialJob(folder / "preview", demo)
    (record,) = run_to_records(Job.model_validate(job.settings))
    output = Output(locate(str(job.out)))
    output.ledger.append([record])
    return job.out


@examples(100, 2_000)
@given(saved=mutated_json({"spec": {"input": {"id": "id", "keep": []}}, "fingerprint": {}}))
def test_preview_shows_an_output_with_any_job_json_or_rejects_it(written_output, saved):
    (written_output / "_xlm" / "job.json").write_text(json.dumps(saved), encoding="utf-8")
    try:
        preview = read_preview(locate(str(written_output)), 3)
    except FatalError as error:
        check_message(error, "job.json: damaged", max_lines=1)
    else:
        assert len(preview.rows) == 2
