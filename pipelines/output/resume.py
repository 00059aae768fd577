"""Compare an output with the plan: which shards are done, which must be computed, and which parts are stale."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.errors import FatalError, RetryableError
from pipelines.formatting import format_count
from pipelines.output.adoption import adopt_parts
from pipelines.output.layout import part_name
from pipelines.rows import RejectionReason

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pipelines.output.directory import Output
    from pipelines.output.shard_record import ShardRecord


class OutputState(NamedTuple):
    """What an output contains, compared with the plan.

    Attributes:
        shards: the whole plan, the done shards first: if two rows have the same id, the one already written stays.
        done: the records of the planned shards that are done, by shard id.
        repeats: for done shards, the rows that were rejected because an earlier row has their id.
        stale_parts: names of parts, and of files of rejected rows, that belong to no done shard.
        notes: messages for the user about parts that are stale, missing or to be computed again.
        adopted: records that are not in the ledger yet, of shards whose parts prove that they are done.
        num_removed: number of recorded parts whose files changed or were deleted.
        num_recorded: number of all recorded parts.
    """

    shards: pa.Table
    done: dict[str, ShardRecord]
    repeats: dict[str, set[int]]
    stale_parts: list[str]
    notes: list[str]
    adopted: list[ShardRecord]
    num_removed: int
    num_recorded: int

    def check_removal(self, max_removed: float, out: str) -> None:
        """Refuse to remove a large share of an output unless the job allows it.

        Raises:
            FatalError: the files of too many parts changed or were deleted.
        """
        if self.num_removed > max_removed * self.num_recorded:
            raise FatalError(
                f"{out}: {self.num_removed:,} of {format_count(self.num_recorded, 'part')} would be removed, because "
                f"their files changed or were deleted; if that is right, set policy.max_removed above "
                f"{max_removed:g}, else correct input.path"
            )

    @property
    def is_complete(self) -> bool:
        """Whether every shard of the plan is done and recorded, and no part is stale."""
        return not len(self.todo) and not self.stale_parts and not self.adopted

    @property
    def todo(self) -> pa.Table:
        """The shards of the plan that are not done."""
        return self.shards.slice(len(self.done))


def compare_with_plan(
    output: Output, planned: pa.Table, segmenters: Mapping[str, str], retry_rejected: Collection[str] = ()
) -> OutputState:
    """Compare the plan with the ledger and the parts.

    A shard is done if it has a record, and its part and its file of rejected rows have the recorded sizes. The record
    of a part that was written last before a run died is read from the part itself; see `adopt_parts`. All other parts
    are stale and are removed before the run starts:

    - Parts of files that changed or were deleted, because the output contains the rows of the corpus as it is now.
    - Parts that are computed again, such as damaged ones. Until they are
      computed, another shard may produce a row with an id that they contain.

    If files changed or were deleted, shards with rows that were rejected as duplicates are computed again too, since
    the row with the first occurrence of the id may be gone.

    Args:
        output: the output.
        planned: the whole plan.
        segmenters: the segmenters of the job, as in `ShardRecord`.
        retry_rejected: reasons of rejected rows; shards with such rows count as not done.

    Raises:
        FatalError: rows of done shards were segmented in another way.
    """
    notes: list[str] = []
    planned_ids: list[str] = planned["shard"].to_pylist()
    planned_parts = {part_name(shard) for shard in planned_ids}
    records = {record.shard: record for record in output.ledger.load()}
    sizes, rejected = output.list_parts(), output.list_rejected_parts()
    unrecorded = [part_name(shard) in sizes and shard not in records for shard in planned_ids]
    adopted = adopt_parts(output, planned.filter(pa.array(unrecorded, pa.bool_())).to_pylist(), records, segmenters)
    records |= adopted
    removed = [record for record in records.values() if record.part not in planned_parts]
    if removed:
        files = sorted({record.file for record in removed})
        shown = ", ".join(files[:5]) + (f" and {len(files) - 5} more" if len(files) > 5 else "")
        notes.append(f"removing {format_count(len(removed), 'part')} of files that changed or were deleted: {shown}")
    # A shard without a record, such as a failed one, may also have had the first occurrence of an id.
    files_changed = bool(removed) or not {part_name(shard) for shard in output.read_planned_rows()} <= planned_parts
    done: dict[str, ShardRecord] = {}
    num_damaged = num_with_repeats = num_retried = 0
    for shard, record in records.items():
        if record.part not in planned_parts:
            continue
        if not _has_recorded_sizes(record, sizes, rejected):
            num_damaged += 1
        elif not record.reasons.keys().isdisjoint(retry_rejected):
            num_retried += 1
        elif files_changed and _num_repeats(record):
            num_with_repeats += 1
        else:
            done[shard] = record
    repeats: dict[str, set[int]] = {}
    for record in [record for record in done.values() if _num_repeats(record)]:
        try:
            repeats[record.shard] = output.read_repeated_rows(record.part)
        except pa.ArrowException:  # damaged, although it has the recorded size
            del done[record.shard]
            num_damaged += 1
    output.check_segmenters(done.values(), segmenters)
    if num_unproven := sum(unrecorded) - len(adopted):
        notes.append(f"computing {format_count(num_unproven, 'part')} again that the last run did not record")
    if num_damaged:
        notes.append(f"computing {format_count(num_damaged, 'part')} again, missing or changed since being recorded")
    if num_with_repeats:
        notes.append(
            f"computing {format_count(num_with_repeats, 'part')} again, with rows rejected as duplicates: files "
            "changed or were deleted"
        )
    if num_retried:
        notes.append(f"computing {format_count(num_retried, 'part')} again, because of their rejected rows")
    existing = sizes.keys() | rejected.keys() | {record.part for record in records.values()}
    stale_parts = sorted(existing - {record.part for record in done.values()})
    is_done = np.array([shard in done for shard in planned_ids], bool)
    shards = pa.concat_tables([planned.filter(pa.array(is_done)), planned.filter(pa.array(~is_done))])
    new = [record for shard, record in adopted.items() if shard in done]
    if new:
        notes.append(f"adopting {format_count(len(new), 'part')} that the last run finished, but did not record")
    return OutputState(shards, done, repeats, stale_parts, notes, new, len(removed), len(records))


def remove_stale_parts(output: Output, state: OutputState) -> None:
    """Delete stale parts and temporary files, and record adopted parts.

    Only the holder of the output's lock may call this.
    """
    output.remove_temporary_files()
    if state.stale_parts or state.adopted:
        output.mark_incomplete()
    for name in state.stale_parts:
        output.remove_part(name)
    if state.stale_parts:
        output.ledger.replace(list(state.done.values()))
    else:
        output.ledger.append(state.adopted)


def check_parts(output: Output, done: dict[str, ShardRecord]) -> None:
    """Check that the parts are those of the ledger, as the last step before an output is marked complete.

    Parts without a record are deleted: a writer of this run or an earlier one, which was taken for dead, may have
    finished after all. It writes the bytes that were recorded, or a part of another size if an earlier run had other
    segmenters for its rows.

    Raises:
        RetryableError: a part is missing, or is not as it was written.
    """
    sizes, rejected = output.list_parts(), output.list_rejected_parts()
    for name in (sizes.keys() | rejected.keys()) - {record.part for record in done.values()}:
        output.remove_part(name)
    changed = [record.part for record in done.values() if not _has_recorded_sizes(record, sizes, rejected)]
    if changed:
        raise RetryableError(
            f"{output.location.url}: {format_count(len(changed), 'part')} changed after being written, such as "
            f"{changed[0]}"
        )


def _has_recorded_sizes(record: ShardRecord, sizes: dict[str, int], rejected: dict[str, int]) -> bool:
    return sizes.get(record.part) == record.bytes and rejected.get(record.part) == record.rejected_bytes


def _num_repeats(record: ShardRecord) -> int:
    return record.reasons.get(RejectionReason.DUPLICATE_ID, 0)
