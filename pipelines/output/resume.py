"""What an output holds already, against what the job plans: the difference is what a run has to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.errors import FatalError, RetryableError
from pipelines.formatting import counted
from pipelines.output.ledger import part_name
from pipelines.rows.shard import REPEATED

if TYPE_CHECKING:
    from collections.abc import Collection

    from pipelines.output.directory import Output


class Standing(NamedTuple):
    """Where an output stands.

    Attributes:
        shards: the whole plan, shards that are done first: of two rows with one id, that which is written stays.
        done: the record of each shard that is in the output.
        repeats: for shards that are done, the rows that were rejected since an earlier row has their id.
        surplus: names of parts, and of files of rejected rows, that are of no shard that is done.
        notes: what a person should know of parts that are surplus, missing or to be computed once more.
        num_stale, num_recorded: parts that have a record: of files that changed or went, and all.
    """

    shards: pa.Table
    done: dict[str, dict[str, Any]]
    repeats: dict[str, set[int]]
    surplus: list[str]
    notes: list[str]
    num_stale: int
    num_recorded: int

    def check_removal(self, max_removed: float, out: str) -> None:
        """Refuse to remove most of an output unasked.

        Raises:
            FatalError: the files of too many parts changed or went.
        """
        if self.num_stale > max_removed * self.num_recorded:
            raise FatalError(
                f"{out}: {self.num_stale} of {self.num_recorded} parts would be removed, since their files changed or "
                f"went; if they did, set policy.max_removed above {max_removed:g}, else correct input.path"
            )

    @property
    def is_whole(self) -> bool:
        """Whether every shard of the plan is done, and nothing else is there."""
        return not len(self.todo) and not self.surplus

    @property
    def todo(self) -> pa.Table:
        """The part of the plan that is not done."""
        return self.shards.slice(len(self.done))


def compare(output: Output, planned: pa.Table, retry_rejected: Collection[str] = ()) -> Standing:
    """Compare the plan with the ledger and the parts.

    A shard is done if it has a record, and its part is there in the size that the record says, with its rejected rows
    if it has any. All other parts are surplus: those of files that changed or went, since `OUT` holds the rows of the
    corpus as it is now, and those that are to be computed again, such as a part without a record, which is what a run
    leaves that was killed between the two: another shard may come to hold a row with an id of theirs before they do.
    What files that changed or went have settled goes with them: shards with rows that repeated an id are computed
    again.

    Args:
        output: what is there.
        planned: the whole plan.
        retry_rejected: reasons of rejected rows whose shards count as not done.
    """
    notes: list[str] = []
    wanted = {part_name(shard) for shard in planned["shard"].to_pylist()}
    records, sizes, rejected = output.ledger.load(), output.parts(), output.rejected_parts()
    stale = [record for shard, record in records.items() if part_name(shard) not in wanted]
    if stale:
        files = sorted({record["file"] for record in stale})
        more = f" and {len(files) - 5} more" if len(files) > 5 else ""
        notes.append(f"removing {len(stale)} parts of files that changed or went: {', '.join(files[:5])}{more}")
    # also a shard without a record, such as one that failed, may have settled which row of an id stays
    files_went = bool(stale) or not {part_name(shard) for shard in output.planned()} <= wanted
    done: dict[str, dict[str, Any]] = {}
    num_lost = num_unsettled = num_retried = 0
    for shard, record in records.items():
        name = part_name(shard)
        if name not in wanted:
            continue
        if sizes.get(name) != record["bytes"] or rejected.get(name) != record["rejected_bytes"]:
            num_lost += 1
        elif not dict(record["reasons"]).keys().isdisjoint(retry_rejected):
            num_retried += 1
        elif files_went and _repeats(record):
            num_unsettled += 1
        else:
            done[shard] = record
    repeats: dict[str, set[int]] = {}
    for shard in [shard for shard, record in done.items() if _repeats(record)]:
        try:
            repeats[shard] = output.repeated_rows(part_name(shard))
        except pa.ArrowException:  # damaged, though of the right size
            del done[shard]
            num_lost += 1
    if num_lost:
        notes.append(f"{num_lost} recorded parts are gone, or not as they were written; computing them again")
    if num_unsettled:
        notes.append(f"{num_unsettled} parts lack rows that repeated an id; computing them again, since files went")
    if num_retried:
        notes.append(f"computing {counted(num_retried, 'part')} again, for their rejected rows")
    surplus = sorted((sizes.keys() | rejected.keys() | set(map(part_name, records))) - set(map(part_name, done)))
    is_done = np.array([shard in done for shard in planned["shard"].to_pylist()], bool)
    shards = pa.concat_tables([planned.filter(pa.array(is_done)), planned.filter(pa.array(~is_done))])
    return Standing(shards, done, repeats, surplus, notes, len(stale), len(records))


def clean_up(output: Output, standing: Standing) -> None:
    """Remove what has no place in the output any more. Only the holder of the output's lock may call this."""
    output.remove_leftovers()
    if standing.surplus:
        output.mark_incomplete()
        for name in standing.surplus:
            output.remove_part(name)
        output.ledger.replace(list(standing.done.values()))


def check_parts(output: Output, done: dict[str, dict[str, Any]]) -> None:
    """Make sure, as the last thing before an output is called complete, that its parts are those of the ledger.

    What no record accounts for goes: a writer that was thought dead, of this run or of one before, may have finished.

    Raises:
        RetryableError: a part is gone, or is not as it was written.
    """
    sizes, rejected = output.parts(), output.rejected_parts()
    records = {part_name(shard): record for shard, record in done.items()}
    for name in (sizes.keys() | rejected.keys()) - records.keys():
        output.remove_part(name)
    bad = [n for n, r in records.items() if sizes.get(n) != r["bytes"] or rejected.get(n) != r["rejected_bytes"]]
    if bad:
        raise RetryableError(
            f"{output.location.url}: {counted(len(bad), 'part')} changed since written, such as {bad[0]}"
        )


def _repeats(record: dict[str, Any]) -> int:
    return dict(record["reasons"]).get(REPEATED, 0)
