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
    by_lang = _list_counts(totals.rejected_langs, _MAX_LANGS)
    is_share = isinstance(policy.max_rejected, float)
    allowed = min(1.0, math.ceil(100 * num_rejected / num_rows) / 100) if is_share else num_rejected
    return (
        f"{format_count(num_rejected, 'row')} rejected of {num_rows:,} processed, and policy.max_rejected is "
        f"{policy.max_rejected}: {_list_counts(totals.reasons)}{f'; by language: {by_lang}' if by_lang else ''}; "
        f"correct them, or accept as many with --set policy.max_rejected={allowed}"
    )


def _list_counts(counts: Mapping[str, int], limit: int | None = None) -> str:
    order = list(counts.items())
    shown = ", ".join(f"{name} {count:,}" for name, count in order[:limit])
    num_more = len(order) - len(order[:limit])
    return f"{shown} and {num_more} more" if num_more else shown
