"""A shard on its way through the stages: rows in hand, rows rejected, and what there is to say about it.

For Ray Data a shard is one row of a table, so it is never split, merged or shuffled.
"""

from __future__ import annotations

import json
import traceback
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from pipelines.errors import FatalError, RetryableError, ShardError

if TYPE_CHECKING:
    from collections.abc import Sequence

REJECTED = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),  # its number in the input file, from 0
        pa.field("id", pa.string()),  # as text; null where the job names no id column, or the row has none
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),  # never the text
    ]
)


REPEATED = "duplicate_id"  # the reason of a row whose id an earlier row has
STOPPED = "stopped"  # the error of a shard that was not begun, because its run is to end early


class Reject(NamedTuple):
    """A row that goes, with the fields of `REJECTED`."""

    row: int
    id: str | None
    reason: str
    detail: str


@dataclass(frozen=True)
class Shard:
    """What one stage hands to the next.

    Attributes:
        id: the shard's id, which names its part.
        rows: the rows still in the running, in input order.
        rejected: rows that were taken out, as `REJECTED`.
        stats: what the stages counted and timed so far; JSON values.
        error: why the shard cannot be finished; the stages that follow then pass it on as it is.
        fatal: whether that error ends the whole run.
    """

    id: str
    rows: pa.RecordBatch
    rejected: pa.RecordBatch = field(default_factory=lambda: pa.RecordBatch.from_pylist([], REJECTED))
    stats: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    fatal: bool = False

    def to_table(self) -> pa.Table:
        """Pack into one row, the rows as they are."""
        return pa.table(
            {
                "shard": pa.array([self.id]),
                "rows": _one_list(self.rows),
                "rejected": _one_list(self.rejected),
                "stats": pa.array([json.dumps(self.stats)]),
                "error": pa.array([self.error], pa.string()),
                "fatal": pa.array([self.fatal]),
            }
        )

    @classmethod
    def from_table(cls, table: pa.Table) -> Shard:
        """Unpack the one row of a table."""
        if table.num_rows != 1:
            raise AssertionError(f"a stage was handed {table.num_rows} shards at once; expected 1")
        return cls(
            id=table["shard"][0].as_py(),
            rows=_list_items(table["rows"]),
            rejected=_list_items(table["rejected"]),
            stats=json.loads(table["stats"][0].as_py()),
            error=table["error"][0].as_py(),
            fatal=table["fatal"][0].as_py(),
        )

    def reject(self, keep: Sequence[bool], rejects: Sequence[Reject]) -> Shard:
        """Take rows out.

        Args:
            keep: for each row, whether it stays.
            rejects: what there is to say of each row that goes, in order.
        """
        if len(keep) - sum(keep) != len(rejects):
            raise AssertionError(f"{len(keep) - sum(keep)} rows to take out, but {len(rejects)} reasons")
        if not rejects:
            return self
        rows = self.rows.filter(pa.array(keep, pa.bool_()))
        batch = pa.RecordBatch.from_pylist([reject._asdict() for reject in rejects], REJECTED)
        table = pa.Table.from_batches([self.rejected, batch])
        return replace(self, rows=rows, rejected=table.combine_chunks().to_batches()[0])

    def failed(self, error: BaseException, schema: pa.Schema) -> Shard:
        """Give up on the shard; `schema` is that of the rows the stage would have handed on."""
        return replace(self.emptied(schema), error=describe(error), fatal=isinstance(error, FatalError))

    def stopped(self, schema: pa.Schema) -> Shard:
        """Leave the shard to a later run; `schema` as in `failed`."""
        return replace(self.emptied(schema), error=STOPPED)

    def emptied(self, schema: pa.Schema) -> Shard:
        """Give the shard without its rows, of which there are none any more in the form that `schema` declares."""
        return replace(self, rows=pa.RecordBatch.from_pylist([], schema))


def describe(error: BaseException) -> str:
    """Say what went wrong in one line, without any row's text.

    Our own errors are written for people. Of others only the kind and the place are told: their messages may quote
    the data.
    """
    if isinstance(error, (FatalError, RetryableError, ShardError)):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    told = error.strerror if isinstance(error, OSError) else error.name if isinstance(error, ImportError) else None
    cause = f" ({told})" if told else ""
    return f"{type(error).__name__}{cause}{place}"


def _one_list(batch: pa.RecordBatch) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array([0, len(batch)], pa.int32()), batch.to_struct_array())


def _list_items(column: pa.ChunkedArray) -> pa.RecordBatch:
    chunk = next(chunk for chunk in column.chunks if len(chunk))
    return pa.RecordBatch.from_struct_array(chunk.flatten())
