"""What was rejected, and how to continue, if more rows are rejected than the job allows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pipelines.formatting import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.job import PolicySettings
    from pipelines.output.ledger import Totals

_MAX_LANGS = 5


def describe_too_many_rejected(totals: Totals, policy: PolicySettings, num_left: int = 0) -> str | None:
    """Describe the rejected rows of an output that has more of them than its job allows.

    Args:
        totals: of all committed shards.
        policy: contains the limit.
        num_left: number of rows that are not processed yet, all of which may be good; not those of failed shards.

    Returns:
        One line; None if the rejected rows are within the limit.
    """
    num_rejected, num_rows = totals.counts["rows_rejected"], totals.counts["rows_in"]
    if num_rejected <= policy.count_allowed_rejections(num_rows + num_left):
        return None
    by_lang = list_counts(totals.rejected_langs, _MAX_LANGS)
    limit = sufficient_limit(policy, num_rejected, num_rows)
    accept = f", or accept as many with --set policy.max_rejected={limit}" if num_rejected < num_rows else ""
    return (
        f"{format_count(num_rejected, 'row')} rejected of {num_rows:,} processed, and policy.max_rejected is "
        f"{policy.max_rejected}: {list_counts(totals.reasons)}{f'; by language: {by_lang}' if by_lang else ''}; "
        f"correct them{accept}"
    )


def sufficient_limit(policy: PolicySettings, num_rejected: int, num_rows: int) -> float:
    """Return a `policy.max_rejected` that allows so many rejected rows, as a share or count like that of the policy."""
    if isinstance(policy.max_rejected, float):
        percent = math.ceil(100 * num_rejected / num_rows)
        percent += percent / 100 * num_rows < num_rejected  # 0.29 of 100 rows is a little less than 29
        return min(1.0, percent / 100)
    return num_rejected


def list_counts(counts: Mapping[str, int], limit: int | None = None) -> str:
    """Return names with their counts, in one line, of at most `limit` names."""
    order = list(counts.items())
    shown = ", ".join(f"{name} {count:,}" for name, count in order[:limit])
    num_more = len(order) - len(order[:limit])
    return f"{shown} and {num_more} more" if num_more else shown
