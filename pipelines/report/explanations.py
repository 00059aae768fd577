"""What the page says about a run's status, its rejected rows and its failed shards, and what to do next."""

from __future__ import annotations

from typing import Any

from pipelines.formatting import format_count, format_percent

_REASONS = {
    "invalid_utf8": "the text, id or language is not UTF-8",
    "null_id": "the row has no id",
    "null_lang": "the row has no language",
    "unknown_lang": "the language is not in the checkpoint; policy.unknown_lang: neutral processes such rows",
    "no_choices": "the row has no choices",
    "null_text": "the text is null",
    "empty_text": "the text is empty, or only spaces",
    "too_many_chars": "the text is longer than tokenizer.max_chars",
    "too_many_tokens": "the row is longer than tokenizer.max_length; on_overflow: truncate or window processes it",
    "duplicate_id": "an earlier row has the same id",
    "killed_worker": "the worker died each time it processed the row; xlm run --retry-rejected computes it again",
}

_MIN_BUSY = 0.5  # of a bottleneck


def explain_reason(reason: str) -> str:
    """Explain a reason for which rows are rejected; empty for one that this version does not have."""
    return _REASONS.get(reason, "")


def describe_status(report: dict[str, Any]) -> str:
    """Describe in a sentence or two how the run ended, and what a next run does."""
    totals, policy = report["totals"], report["settings"]["policy"]
    left = f"{format_count(totals['rows_left'], 'row')} of {totals['rows_corpus']:,} are not processed yet."
    match report["status"]:
        case "complete except for failed shards":
            failed = format_count(totals["failed_shards"], "shard")
            return f"{failed} failed; policy.max_failed_shards allows {policy['max_failed_shards']:,}. {left}"
        case "complete":
            return "Every row of the corpus is written, rejected or dropped by the filter."
        case "too many rejected rows":
            return f"{report['too_many_rejected']}."
        case "interrupted":
            return f"{left} Run the same job again to resume."
        case "storage failed":
            return f"{left} Run the same job again once the storage works."
        case _:
            return f"{left} Run the same job again to compute only the missing shards."


def describe_bottleneck(busy: dict[str, float]) -> str:
    """Name the stage whose workers were busy most of the time; empty if that is not known.

    Args:
        busy: the share of the run's time in which the workers of each pool were busy, the largest share first.
    """
    if not busy:
        return ""
    (first, share), *others = busy.items()
    rest = "".join(f", those of {stage} {format_percent(other, 1)}" for stage, other in others)
    if share < _MIN_BUSY:
        return (
            f"Workers of {first} were busy {format_percent(share, 1)} of the time{rest}. Most of the time passed while "
            "workers started, or waited for storage or for other stages."
        )
    return f"The bottleneck is {first}: its workers were busy {format_percent(share, 1)} of the time{rest}."


def next_step(report: dict[str, Any]) -> str:
    """Return what to do about failed shards."""
    again = "Run the same job again: it computes only the shards that failed or did not start."
    match report["status"]:
        case "storage failed":
            return f"Correct the access to the storage that the errors name. {again}"
        case "complete except for failed shards":
            return f"Results of all other shards are written. {again}"
        case _:
            return (
                f"Correct what the errors name, such as a damaged file. {again} To finish without these shards, raise "
                "policy.max_failed_shards."
            )
