"""Records of shards for tests, with plausible values."""

from dataclasses import replace
from typing import Any

from pipelines.corpus.planned_shard import Member
from pipelines.output.shard_record import ShardRecord
from tests.pipelines.corpus.shards import shard_id


def make_record(number: int, **changes: Any) -> ShardRecord:
    """Make a record of a shard whose first row has the given number."""
    record = ShardRecord(
        shard=shard_id([Member("/in.parquet", 9, 9, "", 0, number, number, 1)]),
        file="/in.parquet",
        num_files=1,
        rows_read=1,
        rows_in=1,
        rows_out=1,
        rows_rejected=1,
        rows_truncated=1,
        tokens=1,
        bytes=1,
        oom_halvings=1,
        digest="00",
        rejected_bytes=1,
        rejected_digest="00",
        reasons={"empty_text": 2},
        rejected_langs={"de": 2},
        langs=(),
        segmenters={},
        ids_digest="00",
        precision="float32",
        read_s=0.0,
        identify_s=0.0,
        tokenize_s=0.0,
        infer_s=0.0,
        write_s=0.0,
    )
    return replace(record, **changes)
