"""A stage's turn with a shard: what every stage of a pool does before and after its own work."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pipelines.errors import ShardError
from pipelines.rows.shard import Shard
from pipelines.stages.stop_signal import stop_requested

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa


def run_stage(
    name: str,
    table: pa.Table,
    step: Callable[[Shard], Shard],
    schema: pa.Schema,
    may_begin: Callable[[str], bool] = lambda _: not stop_requested(),
) -> pa.Table:
    """Take a shard through one stage; an error becomes the shard's own, since one that is raised would end the run.

    A shard that has an error already is passed on, and one whose run is to end is not begun.

    Args:
        name: the stage, under which its seconds are kept.
        table: the shard, as Ray hands it over.
        step: what the stage does.
        schema: of the rows it hands on, also when it fails.
        may_begin: tells, of a shard's id, whether the run still wants it.
    """
    shard = Shard.from_table(table)
    if shard.error is not None:
        return shard.emptied(schema).to_table()
    began = time.perf_counter()
    try:
        if not may_begin(shard.id):
            return shard.stopped(schema).to_table()
        result = step(shard)
        if len(result.rows) + len(result.rejected) != len(shard.rows) + len(shard.rejected):
            raise ShardError(
                f"{name}: {len(shard.rows)} rows went in, {len(result.rows)} came out and "
                f"{len(result.rejected) - len(shard.rejected)} were rejected; this is a defect, please report it"
            )
    except Exception as error:
        result = shard.failed(error, schema)
    seconds = {f"{name}_s": round(time.perf_counter() - began, 6)}
    return replace(result, stats=result.stats | seconds).to_table()
