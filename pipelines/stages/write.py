"""The write stage: write a shard's rows as one part of the output, and return a record of it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.errors import ShardError
from pipelines.formatting import format_count
from pipelines.output import REJECTED_FILE, Output, ShardRecord, ShardResult, digest_ids, part_bytes, part_name, sha256
from pipelines.rows import RENAMED, ROW, Shard, ShardFailure, locate_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.rows import Source
    from pipelines.storage import Location


@dataclass(frozen=True)
class Writer:
    """Writes parts and rejected rows to the output.

    Attributes:
        output: the output directory.
        schema: schema of the parts, with the metadata that every part carries.
        id_column: the column that identifies a row; None if the job names none.
    """

    output: Location
    schema: pa.Schema
    id_column: str | None

    def __call__(self, table: pa.Table) -> pa.Table:
        """Write one shard, packed as a table of one row; returns a `ShardResult` packed the same way."""
        shard = Shard.from_table(table)
        if shard.failure is not None:
            return ShardResult(shard.id, failure=shard.failure).to_table()
        start = time.perf_counter()
        try:
            record = self.write(shard)
        except Exception as error:
            return ShardResult(shard.id, failure=ShardFailure.from_error(error)).to_table()
        return ShardResult(shard.id, replace(record, write_s=time.perf_counter() - start)).to_table()

    def write(self, shard: Shard) -> ShardRecord:
        """Write the part and the file of rejected rows, and return the shard's record.

        Raises:
            ShardError: some rows are neither written nor rejected.
        """
        stats, rows, rejected = shard.stats, shard.rows, shard.rejected
        if stats.rows_in != len(rows) + len(rejected):
            raise ShardError(
                f"shard {shard.id}: {format_count(stats.rows_in, 'row')} in, {len(rows)} out, {len(rejected)} "
                "rejected; this is a bug, please report it"
            )
        name = part_name(shard.id)
        output = Output(self.output)
        rejected_part = output.rejected / name
        rejected_bytes = rejected_digest = None
        if len(rejected):
            data = part_bytes(_add_source(rejected, stats.sources, REJECTED_FILE))
            rejected_part.put(data)
            rejected_bytes, rejected_digest = data.size, sha256(data)
        else:
            rejected_part.delete()  # an earlier attempt may have rejected rows of this shard
        table = _add_source(rows, stats.sources, self.schema)
        record = ShardRecord(
            shard=shard.id,
            file=stats.sources[0].file,
            num_files=len({source.file for source in stats.sources}),
            rows_read=stats.rows_read,
            rows_in=stats.rows_in,
            rows_out=len(rows),
            rows_rejected=len(rejected),
            rows_truncated=stats.rows_truncated,
            tokens=stats.tokens,
            bytes=0,
            oom_halvings=stats.oom_halvings,
            digest="",
            rejected_bytes=rejected_bytes,
            rejected_digest=rejected_digest,
            reasons=dict(Counter(rejected.column("reason").to_pylist())),
            rejected_langs=dict(Counter(rejected.column("lang").drop_null().to_pylist())),
            langs=stats.langs,
            segmenters=stats.segmenters,
            ids_digest=digest_ids(table[self.id_column or "row"].combine_chunks()),
            precision=stats.precision,
            read_s=stats.read_s,
            identify_s=stats.identify_s,
            tokenize_s=stats.tokenize_s,
            infer_s=stats.infer_s,
            write_s=0.0,
        )
        # The part comes last, because its footer proves that the rejected rows are written, too.
        data = part_bytes(table, record.to_footer())
        output.put_part(name, data)
        return replace(record, bytes=data.size, digest=sha256(data))


def discard(table: pa.Table) -> pa.Table:
    """Report that a shard passed all stages, or its failure, without writing it; the write stage of a probe."""
    failure = ShardFailure.from_row(table["failure"][0].as_py())
    return ShardResult(table["shard"][0].as_py(), failure=failure).to_table()


def _add_source(rows: pa.RecordBatch, sources: Sequence[Source], schema: pa.Schema) -> pa.Table:
    """Arrange rows by a schema; its columns `file` and `row`, if any, are the input file and the row's number in it."""
    found = {name.removeprefix(RENAMED): rows.column(name) for name in rows.schema.names}
    positions = found.pop(ROW) if ROW in found else found.pop("row")  # the latter of rejected rows
    if not found.keys() >= set(schema.names):
        files, numbers = locate_rows(sources, positions)
        found = {"file": files, "row": numbers} | found
    return pa.Table.from_arrays([found[name] for name in schema.names], schema=schema)
