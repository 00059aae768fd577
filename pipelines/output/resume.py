"""Compare an output with the plan: which shards are done, which must be computed, and which parts are stale."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pipelines.errors import FatalError, RetryableError
from pipelines.formatting import format_count
from pipelines.output.adoption import adopt_parts
from pipelines.output.layout import part_name
from pipelines.output.ledger import add_up, retry_if_replaced, to_table
from pipelines.rows import RejectionReason
from pipelines.thread_map import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from pipelines.output.directory import Output
    from pipelines.output.ledger import Records, Totals
    from pipelines.output.shard_record import ShardRecord

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them


_READ_THREADS = 16  # a file of rejected rows is a small read, mostly waiting


@dataclass(frozen=True)
class OutputState:
    """What an output contains, compared with the plan.

    Attributes:
        planned: the whole plan.
        is_done: which shards of the plan are done.
        recorded: the records of done shards in the ledger.
        adopted: records that are not in the ledger yet, of done shards whose parts prove it.
        repeats: for done shards, the rows that were rejected because an earlier row has their id.
        stale_parts: names of parts, and of files of rejected rows, that belong to no done shard.
        notes: messages for the user about parts that are stale, missing or to be computed again.
        num_removed: number of recorded parts whose files changed or were deleted.
        num_recorded: number of all recorded parts.
    """

    planned: pa.Table
    is_done: pa.ChunkedArray
    recorded: Records
    adopted: list[ShardRecord]
    repeats: dict[str, set[tuple[str, int]]]
    stale_parts: list[str]
    notes: list[str]
    num_removed: int
    num_recorded: int

    def check_removal(self, max_removed: float, out: str, rows: tuple[int, int] | None) -> None:
        """Refuse to remove a large share of an output unless the job allows it.

        Args:
            max_removed: the largest share.
            out: the output.
            rows: number of rows of files that changed or were deleted, and of all rows of the last plan; None if that
                plan is lost.

        Raises:
            FatalError: too many rows of the output would be removed.
        """
        num_removed, num_all = rows or (self.num_removed, self.num_recorded)
        if not self.num_removed or num_removed <= max_removed * num_all:
            return
        allow = f"if that is right, set policy.max_removed above {max_removed:g}, else"
        if rows is None:
            raise FatalError(
                f"{out}: plan.parquet is missing or damaged, and without it {num_removed:,} of "
                f"{format_count(num_all, 'part')} would be removed and computed again; {allow} restore it"
            )
        raise FatalError(
            f"{out}: the results of {num_removed:,} of {format_count(num_all, 'row')} would be removed, because their "
            f"files changed or were deleted; {allow} correct input.path"
        )

    @property
    def is_complete(self) -> bool:
        """Whether every shard of the plan is done and recorded, and no part is stale."""
        return not len(self.todo) and not self.stale_parts and not self.adopted

    @property
    def num_done(self) -> int:
        """Number of shards that are done."""
        return len(self.recorded) + len(self.adopted)

    @cached_property
    def todo(self) -> pa.Table:
        """The shards of the plan that are not done."""
        return self.planned.filter(pc.invert(self.is_done)) if pc.any(self.is_done).as_py() else self.planned

    @cached_property
    def shards(self) -> pa.Table:
        """The whole plan, the done shards first: if two rows have the same id, the one already written stays."""
        return pa.concat_tables([self.planned.filter(self.is_done), self.todo])

    def totals(self) -> Totals:
        """Add up the records of done shards."""
        return add_up(chain(self.recorded.rows(), [to_table(self.adopted, 0)]))


def compare_with_plan(
    output: Output,
    planned: pa.Table,
    segmenters: Mapping[str, str],
    retry_rejected: Collection[str] = (),
    gone: Sequence[str] | None = None,
) -> OutputState:
    """Compare the plan with the ledger and the parts.

    A shard is done if it has a record with as many rows of the corpus as are planned, and its part and its file of
    rejected rows have the recorded sizes. The record of a part that was written last before a run died is read from the
    part itself; see `adopt_parts`. All other parts are stale and are removed before the run starts:

    - Parts of files that changed or were deleted, because the output contains the rows of the corpus as it is now.
    - Parts that are computed again, such as damaged ones. Until they are computed, another shard may produce a row with
      an id that they contain.

    If files changed or were deleted, shards with rows that were rejected as duplicates are computed again too, since
    the row with the first occurrence of the id may be gone.

    Args:
        output: the output.
        planned: the whole plan.
        segmenters: the segmenters of the job, as in `ShardRecord`.
        retry_rejected: reasons of rejected rows; shards with such rows count as not done.
        gone: the files of the last plan that changed or were deleted; None if that plan is lost.

    Raises:
        FatalError: rows of done shards were segmented in another way.
    """
    state = retry_if_replaced(lambda: _compare(output, planned, segmenters, retry_rejected, gone))
    pa.default_memory_pool().release_unused()
    return state


def _compare(
    output: Output,
    planned: pa.Table,
    segmenters: Mapping[str, str],
    retry_rejected: Collection[str],
    gone: Sequence[str] | None,
) -> OutputState:
    notes: list[str] = []
    shards = planned["shard"]
    records, parts, rejected = output.ledger.load(), output.list_parts(), output.list_rejected_parts()
    is_unrecorded = pc.and_not(pc.is_in(shards, value_set=parts["shard"]), pc.is_in(shards, value_set=records.shards))
    unrecorded = planned.filter(is_unrecorded)
    adopted = adopt_parts(output, unrecorded, records.precision, segmenters)

    position = pc.index_in(records.shards, value_set=shards).fill_null(-1).to_numpy()
    removed = records.filter(position < 0)
    if len(removed):
        files = removed.files() if gone is None else sorted(gone)
        shown = ", ".join(files[:5]) + (f" and {len(files) - 5} more" if len(files) > 5 else "")
        cause = f"of files that changed or were deleted: {shown}" if files else "that are not planned any more"
        notes.append(f"removing {format_count(len(removed), 'part')} {cause}")
    # A shard without a record, such as a failed one, may also have had the first occurrence of an id.
    last_planned = output.read_planned_rows()["shard"]
    files_changed = len(removed) > 0 or pc.all(pc.is_in(last_planned, value_set=shards)).as_py() is False

    again = [
        (~_has_recorded_sizes(records, parts, rejected), "missing or changed since being recorded"),
        (planned["num_rows"].to_numpy()[position] != records.column("rows_read"), "with other rows than planned"),
        (
            records.rejected_for([RejectionReason.DUPLICATE_ID] if files_changed else []),
            "with rows rejected as duplicates: files changed or were deleted",
        ),
        (records.rejected_for(retry_rejected), "because of their rejected rows"),
    ]
    is_current = position >= 0
    num_again: list[int] = []
    for is_again, _ in again:
        num_again.append(int((is_current & is_again).sum()))
        is_current &= ~is_again
    retried = [record for record in adopted if not record.reasons.keys().isdisjoint(retry_rejected)]
    num_again[-1] += len(retried)
    recorded, repeats = records.filter(is_current), dict[str, set[tuple[str, int]]]()
    with_repeats: list[str] = recorded.filter(recorded.rejected_for([RejectionReason.DUPLICATE_ID])).shards.to_pylist()
    found = map_in_threads(partial(_read_repeated_rows, output), with_repeats, _READ_THREADS)
    for shard, rows in zip(with_repeats, found, strict=True):
        if rows is not None:
            repeats[shard] = rows
        else:
            recorded = recorded.without([shard])
            num_again[0] += 1
    new = [record for record in adopted if record not in retried]
    output.check_segmenters(recorded.segmenters().union(*(record.segmenters.items() for record in new)), segmenters)
    if num_unproven := len(unrecorded) - len(adopted):
        notes.append(f"computing {format_count(num_unproven, 'part')} again that the last run did not record")
    for number, (_, why) in zip(num_again, again, strict=True):
        if number:
            notes.append(f"computing {format_count(number, 'part')} again, {why}")
    if new:
        notes.append(f"adopting {format_count(len(new), 'part')} that the last run finished, but did not record")
    done = pa.chunked_array([*recorded.shards.chunks, pa.array([record.shard for record in new], pa.string())])
    return OutputState(
        planned,
        pc.is_in(shards, value_set=done),
        recorded,
        new,
        repeats,
        _without([parts["shard"], rejected["shard"], records.shards], done),
        notes,
        len(removed),
        len(records) + len(adopted),
    )


def _read_repeated_rows(output: Output, shard: str) -> set[tuple[str, int]] | None:
    """Read which rows of a shard were rejected as duplicates; None if the file is damaged."""
    try:
        return output.read_repeated_rows(part_name(shard))
    except pa.ArrowException:  # although it has the recorded size
        return None


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
        output.ledger.replace(state.adopted, state.recorded)
    else:
        output.ledger.append(state.adopted)


def check_parts(output: Output, done: Records) -> None:
    """Check that the parts are those of the ledger, as the last step before an output is marked complete.

    Parts without a record are deleted: a writer of this run or an earlier one, which was taken for dead, may have
    finished after all. It writes the bytes that were recorded, or a part of another size if an earlier run had other
    segmenters for its rows.

    Raises:
        RetryableError: a part is missing, or is not as it was written.
    """
    parts, rejected = output.list_parts(), output.list_rejected_parts()
    for name in _without([parts["shard"], rejected["shard"]], done.shards):
        output.remove_part(name)
    changed = done.filter(~_has_recorded_sizes(done, parts, rejected))
    if len(changed):
        raise RetryableError(
            f"{output.location.url}: {format_count(len(changed), 'part')} changed after being written, such as "
            f"{part_name(changed.shards[0].as_py())}"
        )


def _has_recorded_sizes(records: Records, parts: pa.Table, rejected: pa.Table) -> NDArray[np.bool_]:
    """Return which records have the sizes of their part and of their file of rejected rows, if any."""
    is_same = np.ones(len(records), np.bool_)
    for name, listed in (("bytes", parts), ("rejected_bytes", rejected)):
        sizes = listed["size"].take(pc.index_in(records.shards, value_set=listed["shard"])).fill_null(-1)
        is_same &= sizes.to_numpy() == records.column(name)
    return is_same


def _without(shards: list[pa.ChunkedArray], others: pa.ChunkedArray) -> list[str]:
    """Return the names of the parts of shards that are not among the others, each once, in order."""
    found = [some.filter(pc.invert(pc.is_in(some, value_set=others))).to_pylist() for some in shards]
    return sorted({part_name(shard) for some in found for shard in some})
