"""What the tokenize stage does before its own work: stopped runs, and rows that the driver already rejected."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.flow import PlanSource
from pipelines.rows.rejection import Rejection, RejectionReason
from pipelines.rows.shard import Shard
from pipelines.rows.shard_failure import STOPPED
from pipelines.run.prepare import prepare_job
from pipelines.stages import run_stage as stage
from pipelines.stages.checks import row_checks
from pipelines.stages.tokenize import Tokenize
from xlm_core import XLMTokenizer

ROWS = pa.table(
    {
        "id": ["a", "b", None, "d", "e"],
        "text": ["the first", "a poisoned row", "another poison", None, "the last"],
        "lang": ["en"] * 5,
    }
)


@pytest.fixture
def prepared(make_job, tmp_path):
    pq.write_table(ROWS, tmp_path / "in.parquet")
    spec = {"path": str(tmp_path / "in.parquet"), "id": "id", "text": "text", "lang": "lang"}
    return prepare_job(make_job(input=spec, tasks=["feature-extraction"]))


@pytest.fixture
def read(prepared) -> pa.Table:
    (task,) = PlanSource(prepared.stages.read, prepared.plan.shards).get_read_tasks(1)
    return pa.concat_tables(task())


def test_text_of_pre_rejected_rows_is_never_processed(prepared, read, monkeypatch):
    """It reaches neither the decoder nor the tokenizer; all other rows are checked as usual."""
    seen: list[str | None] = []
    decode, encode = row_checks.decode_texts, XLMTokenizer.encode_batch

    def watched_decode(column: pa.Array) -> Any:
        seen.extend(column.to_pylist())
        return decode(column)

    def watched_encode(self: XLMTokenizer, texts: Sequence[str], *args: Any, **options: Any) -> Any:
        seen.extend(texts)
        return encode(self, texts, *args, **options)

    monkeypatch.setattr(row_checks, "decode_texts", watched_decode)
    monkeypatch.setattr(XLMTokenizer, "encode_batch", watched_encode)
    (name,) = prepared.plan.shards["shard"].to_pylist()
    killed = Rejection(RejectionReason.KILLED_WORKER, "its process died")
    repeated = Rejection(RejectionReason.DUPLICATE_ID, "an earlier row has this id")
    pre_rejected = {name: {1: killed, 2: killed, 0: repeated}, "other": {4: killed}}
    found = Shard.from_table(Tokenize(prepared.stages.tokenize, pre_rejected)(read))
    assert found.failure is None
    assert found.rows.column("id").to_pylist() == ["e"]
    assert found.rejected.to_pylist() == [
        {"row": 0, "id": "a", "reason": "duplicate_id", "detail": "an earlier row has this id", "lang": None},
        {"row": 1, "id": "b", "reason": "killed_worker", "detail": "its process died", "lang": None},
        {"row": 2, "id": None, "reason": "killed_worker", "detail": "its process died", "lang": None},
        {"row": 3, "id": "d", "reason": "null_text", "detail": "column text is null", "lang": "en"},
    ]
    assert seen == [None, "the last", "the last"]


def test_shard_is_not_started_once_the_run_is_ending(prepared, read, monkeypatch):
    monkeypatch.setattr(stage, "stop_requested", lambda: True)
    found = Shard.from_table(Tokenize(prepared.stages.tokenize, {})(read))
    assert (found.failure, len(found.rows)) == (STOPPED, 0)
    assert found.rows.schema.equals(prepared.stages.tokenize.schema)
    assert found.stats.tokenize_s == 0
