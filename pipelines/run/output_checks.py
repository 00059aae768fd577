"""Check, before a run changes anything, that it may write to its output and can process the corpus."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from pipelines.corpus import MAX_ROWS_IN_DRIVER, find_duplicates
from pipelines.errors import FatalError, RejectionLimitError
from pipelines.formatting import format_count
from pipelines.output import Output, compare_with_plan
from pipelines.rows import PreRejected, Rejection, RejectionReason
from pipelines.run.checks import LanguageSurvey, check_segmenters, describe_certain_rejections, survey_quickly

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator

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


class ComparedIds(NamedTuple):
    """What comparing the ids of all rows has found.

    Attributes:
        repeated: the rows to reject because an earlier row has their id.
        are_distinct: whether all ids were compared, and none is repeated.
    """

    repeated: PreRejected
    are_distinct: bool


def check_before_changes(
    job: Job, prepared: Prepared, state: OutputState, notify: Callable[[str], None] = lambda _: None
) -> ComparedIds:
    """Check all that ends a run before it changes the output.

    Args:
        job: the job.
        prepared: the job, prepared.
        state: its output.
        notify: receives a message before anything that takes long.

    Raises:
        FatalError: too many parts would be removed, a row's language has no segmenter, or ids are repeated.
        RetryableError: a store or Ray failed.
    """
    check_removal(job, prepared, state)
    if not len(state.todo):
        return ComparedIds({}, prepared.plan.corpus.ids_are_distinct)
    check_segmenters(job, prepared.tokenizer, state.todo)
    return compare_ids(job, prepared, state, notify)


def check_rejected_langs(job: Job, prepared: Prepared, state: OutputState) -> LanguageSurvey | None:
    """Refuse to begin a run that will reject too many rows for their language.

    Returns:
        The languages of the rows to compute; None if counting them takes more than some seconds.

    Raises:
        RejectionLimitError: it will, even if all other rows are good.
    """
    survey = survey_quickly(job, prepared.tokenizer, state.todo)
    if survey is None or not survey.num_rejected:
        return survey
    done = state.totals().counts
    num_rejected, is_new = survey.num_rejected + done["rows_rejected"], Output(prepared.output).read_job() is None
    problem = describe_certain_rejections(
        job.policy, survey, survey.num_rows + done["rows_in"], (num_rejected, num_rejected), is_new=is_new
    )
    if problem is not None:
        raise RejectionLimitError(problem)
    return survey


def check_removal(job: Job, prepared: Prepared, state: OutputState) -> None:
    """Refuse to remove a larger share of an output than the job allows.

    Raises:
        FatalError: too many rows are of files that changed or were deleted.
    """
    gone = prepared.plan.corpus.gone
    state.check_removal(job.policy.max_removed, prepared.output.url, gone and (gone.num_rows, gone.num_planned))


def compare_ids(
    job: Job, prepared: Prepared, state: OutputState, notify: Callable[[str], None] = lambda _: None
) -> ComparedIds:
    """Apply `policy.duplicate_ids`: find the rows whose id an earlier row has.

    Nothing is read if an earlier run has compared the ids of all files, and none was repeated.

    Raises:
        FatalError: there are such rows, and the policy is to end the run.
    """
    policy = job.policy.duplicate_ids
    if job.input.id is None or policy == "ignore":
        return ComparedIds({}, are_distinct=False)
    if prepared.plan.corpus.ids_are_distinct:
        return ComparedIds({}, are_distinct=True)
    with _workers(job, prepared.plan.num_rows, notify) as on_ray:
        found = find_duplicates(
            state.shards,
            job.input.id,
            job.input.filter,
            state.repeats,
            job.storage,
            max_share=_MAX_REPEATED_SHARE if policy == "error" else 1.0,
            on_ray=on_ray,
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
        repeated: PreRejected = {}
        for repeat in found.repeats:
            repeated.setdefault(repeat.shard, {})[repeat.position] = rejection
    # Hashes may be equal although the ids are not. `state.repeats` were not compared.
    return ComparedIds(repeated, are_distinct=not (repeated or state.repeats or found.is_partial))


@contextmanager
def _workers(job: Job, num_rows: int, notify: Callable[[str], None]) -> Generator[bool]:
    """Provide Ray for the duration of a `with` block if there are many rows. Yield whether it is there."""
    if num_rows <= MAX_ROWS_IN_DRIVER:
        yield False
        return
    notify(f"comparing the ids of {format_count(num_rows, 'row')}")
    from pipelines.run.cluster import cluster_watch, ray_session  # imports Ray

    with ray_session(job.compute), cluster_watch():
        yield True
