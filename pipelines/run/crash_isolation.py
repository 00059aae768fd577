"""Find the rows that crash their worker or make it time out, so that only these rows are rejected."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from pipelines.corpus import plan_table, planned_shards
from pipelines.formatting import format_count
from pipelines.rows import Rejection, RejectionReason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow as pa

    from pipelines.corpus import PlannedShard
    from pipelines.rows import PreRejected

# Each slice that crashes costs a worker with its model, and each round takes time too: 8 slices balance the two.
_NUM_SLICES = 8

# If more rows of a shard crash their worker, the cause is the file or the machine.
_MAX_ROWS = 16

# The first slices of a shard with more rows include three single rows. If all slices crash, the cause is not the rows.
_MAX_ROWS_WITHOUT_SAMPLE = 3 * _MAX_ROWS


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
    told: set[str] = set()

    def tell(lost: pa.Table, message: str) -> None:
        causes = {stalled[shard] for shard in lost["shard"].to_pylist() if shard in stalled}
        for line in (*sorted(causes - told), f"{format_count(len(lost), 'shard')} {message}"):
            notify(line)
        told.update(causes)

    tell(lost, "lost when a worker died; retrying each in a worker of its own")
    lost = compute(lost)
    if len(lost):
        tell(lost, "crashed the worker each time; searching for the rows that crash it")
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
        For each shard with rows that crash their worker, unless there are too many, their positions in the shard, and
        the id of the slice that was the row alone.
    """
    planned = planned_shards(shards)
    first = {shard.id: _first_slices(shard) for shard in planned}
    slices = [part for parts in first.values() for part in parts]
    sampled = {shard.id: len(first[shard.id]) for shard in planned if shard.num_rows > _MAX_ROWS_WITHOUT_SAMPLE}
    found: dict[str, dict[int, str]] = {}
    given_up: set[str] = set()
    while slices:
        crashed_ids = probe(plan_table(part.planned for part in slices))
        crashed = [part for part in slices if part.planned.id in crashed_ids]
        for part in crashed:
            if part.num_rows == 1:
                found.setdefault(part.shard.id, {})[part.start] = part.planned.id
        num_crashed = Counter(part.shard.id for part in crashed)
        given_up |= {
            shard for shard, number in num_crashed.items() if number > _MAX_ROWS or number == sampled.get(shard)
        }
        sampled.clear()
        slices = [
            part
            for suspect in crashed
            if suspect.num_rows > 1 and suspect.shard.id not in given_up
            for part in suspect.cut()
        ]
    return {shard: rows for shard, rows in found.items() if shard not in given_up}


def _rejection(stalled: str | None) -> Rejection:
    return Rejection(
        RejectionReason.KILLED_WORKER, f"{stalled or 'the worker died'}, each time a worker computed this row"
    )


class _Slice(NamedTuple):
    """Rows of a shard, from the position `start` on."""

    shard: PlannedShard
    start: int
    num_rows: int

    @property
    def planned(self) -> PlannedShard:
        """The rows as a shard of their own."""
        return self.shard.cut(self.start, self.num_rows)

    def cut(self, num_slices: int = _NUM_SLICES) -> list[_Slice]:
        """Cut the rows into slices."""
        size, end = -(-self.num_rows // num_slices), self.start + self.num_rows
        return [_Slice(self.shard, start, min(size, end - start)) for start in range(self.start, end, size)]


def _first_slices(shard: PlannedShard) -> list[_Slice]:
    """Cut a shard into slices; three of them are single rows if the shard has many rows."""
    if shard.num_rows <= _MAX_ROWS_WITHOUT_SAMPLE:
        return _Slice(shard, 0, shard.num_rows).cut()
    sample = (0, shard.num_rows // 2, shard.num_rows - 1)
    rests = [_Slice(shard, start + 1, stop - start - 1) for start, stop in pairwise(sample)]
    return [_Slice(shard, row, 1) for row in sample] + [part for rest in rests for part in rest.cut(_NUM_SLICES // 2)]
