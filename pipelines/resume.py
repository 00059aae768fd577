"""What an output holds already, against what the job plans: the difference is what a run has to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.ledger import part_name
from pipelines.shard import REPEATED

if TYPE_CHECKING:
    from pipelines.output import Output


class Standing(NamedTuple):
    """Where an output stands.

    Attributes:
        shards: the whole plan, shards that are done first: of two rows with one id, that which is written stays.
        done: the record of each shard that is in the output.
        repeats: for shards that are done, the rows that were rejected since an earlier row has their id.
        surplus: names of parts, and of files of rejected rows, that have no place in the plan.
        notes: what a person should know of parts that are surplus or missing.
    """

    shards: pa.Table
    done: dict[str, dict[str, Any]]
    repeats: dict[str, set[int]]
    surplus: list[str]
    notes: list[str]

    @property
    def todo(self) -> pa.Table:
        """The part of the plan that is not done."""
        return self.shards.slice(len(self.done))


def compare(output: Output, planned: pa.Table) -> Standing:
    """Compare the plan with the ledger and the parts.

    A shard is done if it has a record, and its part is there in the size that the record says, with its rejected rows
    if it has any. A part without a record is what a run leaves that was killed between the two; it is computed again,
    and replaced. Parts of files that changed or went are surplus, since `OUT` holds the rows of the corpus as it is
    now. What they settled goes with them: shards with rows that repeated an id are computed again.
    """
    notes: list[str] = []
    wanted = {part_name(shard) for shard in planned["shard"].to_pylist()}
    records, sizes, rejected = output.ledger.load(), output.parts(), output.rejected_parts()
    stale = [record for shard, record in records.items() if part_name(shard) not in wanted]
    surplus = sorted((sizes.keys() | rejected | {part_name(r["shard"]) for r in stale}) - wanted)
    if stale:
        files = sorted({record["file"] for record in stale})
        more = f" and {len(files) - 5} more" if len(files) > 5 else ""
        notes.append(f"removing {len(stale)} parts of files that changed or went: {', '.join(files[:5])}{more}")
    done: dict[str, dict[str, Any]] = {}
    num_lost = num_unsettled = 0
    for shard, record in records.items():
        name = part_name(shard)
        if name not in wanted:
            continue
        if sizes.get(name) != record["bytes"] or (record["rows_rejected"] and name not in rejected):
            num_lost += 1
        elif stale and _repeats(record):
            num_unsettled += 1
        else:
            done[shard] = record
    if num_lost:
        notes.append(f"{num_lost} recorded parts are gone, or not as they were written; computing them again")
    if num_unsettled:
        notes.append(f"{num_unsettled} parts lack rows that repeated an id; computing them again, since files went")
    repeats = {shard: output.repeated_rows(part_name(shard)) for shard, record in done.items() if _repeats(record)}
    is_done = np.array([shard in done for shard in planned["shard"].to_pylist()], bool)
    shards = pa.concat_tables([planned.filter(pa.array(is_done)), planned.filter(pa.array(~is_done))])
    return Standing(shards, done, repeats, surplus, notes)


def clean_up(output: Output, standing: Standing) -> None:
    """Remove what has no place in the output any more. Only the holder of the output's lock may call this."""
    output.remove_leftovers()
    if standing.surplus:
        output.mark_incomplete()
        for name in standing.surplus:
            output.remove_part(name)
        output.ledger.replace(list(standing.done.values()))


def _repeats(record: dict[str, Any]) -> int:
    return dict(record["reasons"]).get(REPEATED, 0)
