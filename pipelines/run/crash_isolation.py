"""Find the rows that crash their worker or make it time out, so that only these rows are rejected."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from pipelines.corpus import PlannedShard, plan_table, planned_shards
from pipelines.formatting import format_count
from pipelines.output import ShardResult
from pipelines.rows import Rejection, RejectionReason, ShardFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pyarrow as pa

    from pipelines.rows import PreRejected

# Each slice that crashes costs a worker with its model, and each round takes time too: 8 slices balance the two.
_NUM_SLICES = 8

# If more rows of a shard crash their worker, the cause is the file or the machine.
_MAX_ROWS = 16


def isolate_crashes(
    lost: pa.Table,
    compute: Callable[[pa.Table], pa.Table],
    probe: Callable[[pa.Table], set[str]],
    stalled: Mapping[str, str],
    pre_rejected: PreRejected,
    notify: Callable[[str], None],
) -> list[str]:
    """Compute shards whose worker died, or made no progress, without the rows that cause it.

    Args:
        lost: the shards of the plan that were lost.
        compute: computes shards of the plan, each alone in its worker, and returns those that were lost again.
        probe: as for `find_crashing_rows`.
        stalled: how shards and slices that made no progress exceeded the time limit; `compute` and `probe` add to it.
        pre_rejected: the rows that crash their worker are added here; `compute` rejects them.
        notify: receives progress messages.

    Returns:
        The ids of the shards that still crash their worker.
    """
    for cause in sorted({stalled[shard] for shard in lost["shard"].to_pylist() if shard in stalled}):
        notify(cause)
    notify(f"{format_count(len(lost), 'shard')} lost when a worker died; retrying each in a worker of its own")
    lost = compute(lost)
    if len(lost):
        notify(f"{format_count(len(lost), 'shard')} crashed the worker each time; searching for the rows that crash it")
        for shard, rows in find_crashing_rows(lost, probe).items():
            rejections = {row: _rejection(stalled.get(part)) for row, part in rows.items()}
            pre_rejected.setdefault(shard, {}).update(rejections)
        lost = compute(lost)
    return lost["shard"].to_pylist()


def find_crashing_rows(shards: pa.Table, probe: Callable[[pa.Table], set[str]]) -> dict[str, dict[int, str]]:
    """Find the rows that crash their worker, by cutting shards into ever smaller slices.

    Args:
        shards: shards of the plan that crashed their worker while they were alone in it.
        probe: computes slices, each alone in its worker and several times if that crashes, and returns the ids of
            those that crashed it each time. A slice is a shard of the plan with fewer rows and its own id.

    Returns:
        For each shard with rows that crash their worker, unless there are too many, their row numbers in the file, and
        the id of the slice that was the row alone.
    """
    suspects = planned_shards(shards)
    shard_of = {shard.id: shard.id for shard in suspects}
    found: dict[str, dict[int, str]] = {}
    given_up: set[str] = set()
    while suspects:
        slices = [part for suspect in suspects for part in _cut(suspect, shard_of)]
        crashed_ids = probe(plan_table(slices))
        crashed = [part for part in slices if part.id in crashed_ids]
        for part in crashed:
            if part.num_rows == 1:
                found.setdefault(shard_of[part.id], {})[part.file_row] = part.id
        num_crashed = Counter(shard_of[part.id] for part in crashed)
        given_up |= {shard for shard, number in num_crashed.items() if number > _MAX_ROWS}
        suspects = [part for part in crashed if part.num_rows > 1 and shard_of[part.id] not in given_up]
    return {shard: rows for shard, rows in found.items() if shard not in given_up}


def discard(table: pa.Table) -> pa.Table:
    """Report that a shard passed all stages, or its failure, without writing it; the write stage of a probe."""
    failure = ShardFailure.from_row(table["failure"][0].as_py())
    return ShardResult(table["shard"][0].as_py(), failure=failure).to_table()


def _rejection(stalled: str | None) -> Rejection:
    return Rejection(
        RejectionReason.KILLED_WORKER, f"{stalled or 'the worker died'}, each time a worker computed this row"
    )


def _cut(shard: PlannedShard, shard_of: dict[str, str]) -> Iterator[PlannedShard]:
    num_rows = -(-shard.num_rows // _NUM_SLICES)
    for start in range(0, shard.num_rows, num_rows):
        part = replace(
            shard,
            id=f"{shard.id}+{start}",
            first_row=shard.first_row + start,
            file_row=shard.file_row + start,
            num_rows=min(num_rows, shard.num_rows - start),
        )
        shard_of[part.id] = shard_of[shard.id]
        yield part
