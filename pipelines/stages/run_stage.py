"""Run one stage on a shard: unpack it, catch errors, check the row count, and measure the time."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pipelines.errors import ShardError
from pipelines.formatting import format_count
from pipelines.rows import Shard
from pipelines.stages.stop_signal import stop_requested

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa


def run_stage(
    name: Literal["identify", "tokenize", "infer"],
    table: pa.Table,
    step: Callable[[Shard], Shard],
    schema: pa.Schema,
    may_start: Callable[[str], bool] = lambda _: not stop_requested(),
) -> pa.Table:
    """Run a stage on one shard, and return the shard packed as a table of one row.

    An error becomes the shard's failure, because an exception would end the run. A shard that has failed already is
    passed on, and no shard is started once the run is ending early.

    Args:
        name: the stage, whose time is recorded.
        table: the shard, packed as a table of one row.
        step: what the stage does.
        schema: of the rows that the stage passes on, also when it fails.
        may_start: returns whether the shard with a given id may be started.
    """
    shard = Shard.from_table(table)
    if shard.failure is not None:
        return shard.emptied(schema).to_table()
    start = time.perf_counter()
    try:
        if not may_start(shard.id):
            return shard.stopped(schema).to_table()
        result = step(shard)
        if len(result.rows) + len(result.rejected) != len(shard.rows) + len(shard.rejected):
            raise ShardError(
                f"{name}: {format_count(len(shard.rows), 'row')} went in, {len(result.rows)} came out and "
                f"{len(result.rejected) - len(shard.rejected)} were rejected; this is a bug, please report it"
            )
    except Exception as error:
        result = shard.failed(error, schema)
    seconds = round(time.perf_counter() - start, 6)
    stats = replace(result.stats, **{f"{name}_s": seconds})
    return replace(result, stats=stats).to_table()
