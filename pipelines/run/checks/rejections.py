"""Rows that a run is certain to reject, and what to do if they are more than the job allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.formatting import format_count, format_percent
from pipelines.output import list_counts, sufficient_limit
from pipelines.rows import RejectionReason

if TYPE_CHECKING:
    from pipelines.job import PolicySettings
    from pipelines.run.checks.languages import LanguageSurvey

_MAX_LANGS = 5


def describe_certain_rejections(
    policy: PolicySettings,
    survey: LanguageSurvey | None,
    num_rows: int,
    num_rejected: tuple[int, int],
    *,
    is_new: bool,
) -> str | None:
    """Describe the rows that will be rejected if the job allows fewer.

    Args:
        policy: contains the limit.
        survey: the languages of the rows; None if they were not counted.
        num_rows: number of all rows.
        num_rejected: the least and the greatest number of rows that are known to be rejected. They differ if some rows
            may be rejected for two reasons.
        is_new: whether the output has no results, so that all settings may be changed.

    Returns:
        One line; None if they are within the limit.
    """
    least, most = num_rejected
    if least <= policy.count_allowed_rejections(num_rows):
        return None
    unknown = [use for use in survey.langs if use.rejected == RejectionReason.UNKNOWN_LANG] if survey else []
    counts = {f"{use.lang}": use.num_rows for use in unknown}
    named = f" (not in the checkpoint: {list_counts(counts, _MAX_LANGS)})" if counts else ""
    advice = ["correct the corpus" if least < num_rows else "correct the corpus or input.lang"]
    if unknown and is_new:
        advice += ["run these rows without a language with --set policy.unknown_lang=neutral"]
    if least < num_rows:
        advice += ["leave them out with input.filter"] if is_new else []
        limit = sufficient_limit(policy, most, num_rows)
        advice += [f"accept as many with --set policy.max_rejected={limit}"]
    share = f"{least:,} of {format_count(num_rows, 'row')} ({format_percent(least, num_rows)})"
    return (
        f"the job would end early: it would reject at least {share}{named}, and policy.max_rejected is "
        f"{policy.max_rejected}; {', '.join(advice[:-1])}{', or ' if advice[1:] else ''}{advice[-1]}"
    )
