"""A shard as it passes through the stages: its remaining rows, its rejected rows and its statistics.

To Ray Data a shard is a table of one row, so it is never split, merged or shuffled.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.rows.rejection import REJECTED
from pipelines.rows.shard_failure import FAILURE_TYPE, STOPPED, ShardFailure
from pipelines.rows.shard_stats import ShardStats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.rows.rejection import RejectedRow


@dataclass(frozen=True)
class Shard:
    """What one stage passes to the next.

    Attributes:
        id: the shard's id, which names its part.
        rows: the rows not rejected so far, in input order.
        stats: what the stages counted and measured so far.
        rejected: the rejected rows, with the schema `REJECTED`.
        failure: why the shard cannot be finished; later stages pass such a shard on unchanged.
    """

    id: str
    rows: pa.RecordBatch
    stats: ShardStats
    rejected: pa.RecordBatch = field(default_factory=lambda: empty_batch(REJECTED))
    failure: ShardFailure | None = None

    def to_table(self) -> pa.Table:
        """Pack the shard into a table of one row, without copying its rows."""
        failure = None if self.failure is None else self.failure.to_row()
        return pa.table(
            {
                "shard": pa.array([self.id]),
                "rows": _to_list_array(self.rows),
                "rejected": _to_list_array(self.rejected),
                "stats": self.stats.to_array(),
                "failure": pa.array([failure], FAILURE_TYPE),
            }
        )

    @classmethod
    def from_table(cls, table: pa.Table) -> Shard:
        """Unpack the only row of a table."""
        if table.num_rows != 1:
            raise AssertionError(f"a stage received {table.num_rows} shards at once, expected 1")
        return cls(
            id=table["shard"][0].as_py(),
            rows=_from_list_column(table["rows"]),
            rejected=_from_list_column(table["rejected"]),
            stats=ShardStats.from_row(table["stats"][0].as_py()),
            failure=ShardFailure.from_row(table["failure"][0].as_py()),
        )

    def reject(self, keep: Sequence[bool], rejected: Sequence[RejectedRow]) -> Shard:
        """Return a copy of the shard with some rows moved to the rejected rows.

        Args:
            keep: for each row, whether it stays.
            rejected: a record of each row that does not stay, in row order.
        """
        num_removed = len(keep) - sum(keep)
        if num_removed != len(rejected):
            raise AssertionError(f"{num_removed} rows are to be rejected, but {len(rejected)} records were given")
        if not rejected:
            return self
        rows = self.rows.filter(pa.array(keep, pa.bool_()))
        batch = pa.RecordBatch.from_pylist([row._asdict() for row in rejected], REJECTED)
        table = pa.Table.from_batches([self.rejected, batch])
        return replace(self, rows=rows, rejected=table.combine_chunks().to_batches()[0])

    def failed(self, error: BaseException, schema: pa.Schema) -> Shard:
        """Return a copy of the shard that failed with an error; it has no rows and the given schema."""
        return replace(self.emptied(schema), failure=ShardFailure.from_error(error))

    def stopped(self, schema: pa.Schema) -> Shard:
        """Return a copy of the shard that is left to a later run; it has no rows and the given schema."""
        return replace(self.emptied(schema), failure=STOPPED)

    def emptied(self, schema: pa.Schema) -> Shard:
        """Return a copy of the shard with no rows and the given schema."""
        return replace(self, rows=empty_batch(schema))


def empty_batch(schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch without rows. Arrow's own functions for it do not support all nested extension types."""
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def _to_list_array(batch: pa.RecordBatch) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array([0, len(batch)], pa.int32()), batch.to_struct_array())


def _from_list_column(column: pa.ChunkedArray) -> pa.RecordBatch:
    chunk = next(chunk for chunk in column.chunks if len(chunk))
    return pa.RecordBatch.from_struct_array(chunk.flatten())
