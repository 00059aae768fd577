"""What an output holds already, against what the job plans: the difference is what a run has to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from pipelines.ledger import part_name

if TYPE_CHECKING:
    from pipelines.output import Output


class Standing(NamedTuple):
    """Where an output stands.

    Attributes:
        shards: the whole plan; shards that an earlier run planned come first, in its order.
        done: the record of each shard that is in the output.
        notes: what a person should know of parts that were removed or are missing.
    """

    shards: pa.Table
    done: dict[str, dict[str, Any]]
    notes: list[str]

    @property
    def todo(self) -> pa.Table:
        """The part of the plan that is not done."""
        return self.shards.filter(pa.array([shard not in self.done for shard in self.shards["shard"].to_pylist()]))


def reconcile(output: Output, planned: pa.Table) -> Standing:
    """Compare the plan with the ledger and the parts, and remove parts that have no place in the plan any more.

    A part may be there without a record, when a run was killed between the two; it is computed again, and replaced.
    A part of a file that changed or went is removed, so that `OUT` holds the rows of the corpus as it is now.
    Only the holder of the output's lock may call this.
    """
    output.clean()
    notes: list[str] = []
    shards = _in_saved_order(planned, output.saved_plan())
    wanted = {part_name(shard): shard for shard in shards["shard"].to_pylist()}
    records, parts = output.ledger.load(), output.parts()
    stale = {shard: record for shard, record in records.items() if part_name(shard) not in wanted}
    orphans = parts - wanted.keys() - {part_name(shard) for shard in stale}
    if stale:
        files = sorted({record["file"] for record in stale.values()})
        more = f" and {len(files) - 5} more" if len(files) > 5 else ""
        notes.append(f"removing {len(stale)} parts of files that changed or went: {', '.join(files[:5])}{more}")
    if orphans:
        notes.append(f"removing {len(orphans)} unrecorded parts that the corpus has no rows for any more")
    if stale or orphans:
        for name in sorted({part_name(shard) for shard in stale} | orphans):
            output.remove_part(name)
        records = {shard: record for shard, record in records.items() if shard not in stale}
        output.ledger.replace(list(records.values()))
    done = {shard: record for shard, record in records.items() if part_name(shard) in parts}
    if len(done) < len(records):
        notes.append(f"{len(records) - len(done)} recorded parts are gone from the output; computing them again")
    return Standing(shards, done, notes)


def _in_saved_order(shards: pa.Table, saved: pa.Table | None) -> pa.Table:
    """Put shards of an earlier plan first: which of two rows repeats the other's id then stays as it was decided."""
    if saved is None:
        return shards
    place = {shard: i for i, shard in enumerate(saved["shard"].to_pylist())}
    names: list[str] = shards["shard"].to_pylist()
    order = sorted(range(len(names)), key=lambda i: (place.get(names[i], len(place)), i))
    return shards.take(pa.array(order, pa.int64()))
