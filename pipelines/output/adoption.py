"""Adopt parts that were written but not recorded, because the run died first, by the proof in their own footers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.output.layout import part_name
from pipelines.output.parts import FINGERPRINT, SHARD_RECORD, digest_ids, is_as_written, sha256
from pipelines.output.shard_record import ShardRecord
from pipelines.thread_map import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.output.directory import Output

_READ_THREADS = 8  # each holds a part in memory
_SHARDS_AT_ONCE = 1_000  # as Python objects


@dataclass(frozen=True)
class _Expected:
    """What a part must prove: the job's fingerprint, schema and segmenters, and the column with the ids of its rows."""

    fingerprint: str
    schema: pa.Schema
    segmenters: Mapping[str, str]
    id_column: str


def adopt_parts(
    output: Output,
    shards: pa.Table,
    precision: str | None,
    segmenters: Mapping[str, str],
) -> list[ShardRecord]:
    """Read the records of shards without one from the parts that prove to be whole, and of this job and shard.

    Nothing is adopted if the job rejects rows that repeat an id: which rows these are depends on the other shards of
    the run that wrote the part.

    Args:
        output: the output.
        shards: rows of the plan whose parts exist, but have no record.
        precision: that of the parts with a record, which all parts of an output have; None if there is none.
        segmenters: the segmenters of this job, which may not be those of the run that wrote the parts.

    Returns:
        Their records, in the order of the plan. Times and out-of-memory events are 0: parts do not contain them.
    """
    job = output.read_job() if len(shards) else None
    schema = output.read_schema() if len(shards) else None
    match job:
        case {
            "metadata": {"xlm:fingerprint": str() as fingerprint},
            "spec": {"input": {"id": str() | None as row_id}, "policy": {"duplicate_ids": "error" | "ignore"}},
        } if schema is not None:
            expected = _Expected(fingerprint, schema, segmenters, row_id or "row")
        case _:
            return []
    planned = (shard for batch in shards.to_batches(_SHARDS_AT_ONCE) for shard in batch.to_pylist())
    found = map_in_threads(lambda shard: _read_proof(output, shard, expected), planned, _READ_THREADS)
    adopted = [record for record in found if record is not None]
    precision = precision or next((record.precision for record in adopted), None)
    return [record for record in adopted if record.precision == precision]


def _read_proof(output: Output, shard: Mapping[str, Any], expected: _Expected) -> ShardRecord | None:
    """Return the record in a part's footer, if the part and its file of rejected rows are as the record says."""
    name = part_name(shard["shard"])
    try:
        data = (output.parts / name).read_bytes()
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        footer = file.metadata.metadata or {}
        if footer.get(FINGERPRINT) != expected.fingerprint.encode():
            return None
        record = ShardRecord.from_footer(footer[SHARD_RECORD], data)
        rows = file.read().combine_chunks()
        is_of_shard = (
            record.shard == shard["shard"]
            and record.file == shard["members"][0]["file"]
            and record.rows_read == shard["num_rows"]
        )
        is_whole = (
            record.segmenters.items() <= expected.segmenters.items()
            and len(rows) == record.rows_out
            and record.rows_in == record.rows_out + record.rows_rejected
            and digest_ids(rows[expected.id_column].combine_chunks()) == record.ids_digest
            and is_as_written(data, rows, expected.schema, footer[SHARD_RECORD].decode())
        )
        return record if is_of_shard and is_whole and _has_its_rejected_rows(output, name, record) else None
    except (OSError, LookupError, ValueError, TypeError, AttributeError, pa.ArrowException):  # damaged
        return None


def _has_its_rejected_rows(output: Output, name: str, record: ShardRecord) -> bool:
    try:
        data = (output.rejected / name).read_bytes()
    except FileNotFoundError:
        return record.rejected_digest is None
    return record.rejected_bytes == len(data) and record.rejected_digest == sha256(data)
