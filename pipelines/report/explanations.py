"""What the page says about how a run ended, what to do next, its rejected rows and its speed."""

from __future__ import annotations

import shlex
from typing import Any

from pipelines.formatting import format_count

_REASONS = {
    "invalid_utf8": "the text, id or language is not UTF-8",
    "null_id": "the row has no id",
    "null_lang": "the row has no language",
    "unknown_lang": "the language is not in the checkpoint; policy.unknown_lang: neutral processes such rows",
    "no_choices": "the row has no choices",
    "null_text": "the text is null",
    "empty_text": "the text is empty, or only spaces",
    "too_many_chars": "the text is longer than tokenizer.max_chars",
    "too_many_tokens": "the row is longer than tokenizer.max_length; on_overflow: truncate processes it, and so does "
    "window if the first text of a pair leaves room",
    "duplicate_id": "an earlier row has the same id",
    "killed_worker": "the worker died each time it processed the row; xlm run --retry-rejected computes it again",
}


def explain_reason(reason: str) -> str:
    """Explain a reason for which rows are rejected; empty for one that this version does not have."""
    return _REASONS.get(reason, "")


def describe_verdict(report: dict[str, Any]) -> str:
    """Describe in a few words how the run ended."""
    failed = report["totals"]["failed_shards"]
    match report["status"]:
        case "complete":
            return "Finished"
        case "complete except for failed shards":
            return f"Finished, except for {format_count(failed, 'failed shard')}"
        case "interrupted":
            return "Interrupted"
        case "failed shards":
            return f"Failed: errors in {format_count(failed, 'shard')}"
        case "storage failed":
            return "Failed: storage errors"
        case status:
            return f"Failed: {status}"


def describe_status(report: dict[str, Any]) -> str:
    """Describe in a sentence or two what the run did not process, and why."""
    totals, policy = report["totals"], report["settings"]["policy"]
    left = f"{format_count(totals['rows_left'], 'row')} of {totals['rows_corpus']:,} are not processed yet."
    match report["status"]:
        case "complete" if not totals["rows_out"]:
            return "No row is written: every row of the corpus is rejected or dropped by the filter."
        case "complete":
            return "Every row of the corpus is written, rejected or dropped by the filter."
        case "complete except for failed shards":
            allowed = format_count(policy["max_failed_shards"], "failed shard")
            return f"{left} policy.max_failed_shards allows {allowed}."
        case "too many rejected rows":
            return f"{report['too_many_rejected']}."
        case _:
            return left


def next_step(report: dict[str, Any]) -> tuple[str, str]:
    """Return what to do next, and the command that does it."""
    again = "run the job again, which computes only what is missing"
    run = "xlm run JOB"
    match report["status"]:
        case "complete":
            return "Look at some results", f"xlm show {shlex.quote(report['settings']['output']['path'])}"
        case "complete except for failed shards":
            return f"To compute the failed shards, {again}", run
        case "too many rejected rows":
            return f"Correct the rows or raise the limit, and {again}", run
        case "storage failed":
            return f"Correct the access to the storage that the errors name, and {again}", run
        case "failed shards":
            return (
                f"Correct what the errors name, such as a damaged file, or raise policy.max_failed_shards, and {again}",
                run,
            )
        case _:
            return f"To resume, {again}", run


def unbroken(text: str) -> str:
    """Keep a number and its unit on one line."""
    return text.replace(" ", "\u00a0")
