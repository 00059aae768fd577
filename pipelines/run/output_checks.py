"""Check, before a run changes anything, that it may write to its output and can process the corpus."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from pipelines.corpus import find_duplicates
from pipelines.errors import FatalError
from pipelines.formatting import format_count
from pipelines.output import Output, compare_with_plan
from pipelines.rows import PreRejected, Rejection, RejectionReason
from pipelines.run.checks import check_segmenters

if TYPE_CHECKING:
    from collections.abc import Collection

    from pipelines.job import Job
    from pipelines.output import OutputState
    from pipelines.run.prepare import Prepared

# If more rows than this repeat an id, input.id names a column that does not contain ids, and the rest is not counted.
_MAX_REPEATED_SHARE = 0.1


def check_output(prepared: Prepared) -> OutputState:
    """Check that a run may write to the output, without writing, and compare the output with the plan.

    Raises:
        FatalError: it is not writable, locked by another run, or contains the results of another job.
    """
    output = Output(prepared.output)
    output.check_fingerprint(prepared.fingerprint)
    output.check_access()
    return compare_output(prepared)


def compare_output(prepared: Prepared, retry_rejected: Collection[str] = ()) -> OutputState:
    """Compare the output with the plan. Shards with rows that were rejected for these reasons count as missing."""
    gone = prepared.plan.corpus.gone
    return compare_with_plan(
        Output(prepared.output), prepared.plan.shards, prepared.segmenters, retry_rejected, gone and gone.urls
    )


def check_before_changes(job: Job, prepared: Prepared, state: OutputState) -> PreRejected:
    """Check all that ends a run before it changes the output.

    Returns:
        The rows that are rejected before they are tokenized.

    Raises:
        FatalError: too many parts would be removed, a row's language has no segmenter, or ids are repeated.
    """
    check_removal(job, prepared, state)
    if not len(state.todo):
        return {}
    check_segmenters(job, prepared.tokenizer, state.todo)
    return reject_duplicate_ids(job, state)


def check_removal(job: Job, prepared: Prepared, state: OutputState) -> None:
    """Refuse to remove a larger share of an output than the job allows.

    Raises:
        FatalError: too many rows are of files that changed or were deleted.
    """
    gone = prepared.plan.corpus.gone
    state.check_removal(job.policy.max_removed, prepared.output.url, gone and (gone.num_rows, gone.num_planned))


def reject_duplicate_ids(job: Job, state: OutputState) -> PreRejected:
    """Apply `policy.duplicate_ids`: find the rows whose id an earlier row has.

    Returns:
        The rows to reject; none if the policy is to ignore them.

    Raises:
        FatalError: there are such rows, and the policy is to end the run.
    """
    pre_rejected: PreRejected = {}
    policy = job.policy.duplicate_ids
    if job.input.id is None or policy == "ignore":
        return pre_rejected
    found = find_duplicates(
        state.shards,
        job.input.id,
        job.input.filter,
        state.repeats,
        job.storage,
        max_share=_MAX_REPEATED_SHARE if policy == "error" else 1.0,
    )
    if policy == "error" and (first := list(islice(found.repeats, 3))):
        shown = "; ".join(f"{r.file} row {r.row} has that of {r.first_file} row {r.first_row}" for r in first)
        rows = format_count(found.num_repeats, "row")
        rows = f"{rows} of the first {found.num_rows:,}" if found.ended_early else rows
        raise FatalError(
            f"input.id {job.input.id}: {rows} with the id of an earlier row "
            f"({shown}{' …' if found.num_repeats > len(first) else ''}); name a column of unique ids, or set "
            "policy.duplicate_ids to reject or ignore"
        )
    rejection = Rejection(RejectionReason.DUPLICATE_ID, "an earlier row has this id")
    for repeat in found.repeats:
        pre_rejected.setdefault(repeat.shard, {})[repeat.position] = rejection
    return pre_rejected
