"""The summary of a run: a report as a few lines of plain text for a console."""

from __future__ import annotations

from typing import Any

from pipelines.formatting import format_count, format_duration, format_size, truncate
from pipelines.report.bottleneck import describe_bottleneck

MAX_LANG_CHARS = 24  # with a wrong input.lang and unknown_lang: neutral, a language code can be any text
_MAX_LANGS = 5


def summary_lines(report: dict[str, Any]) -> list[str]:
    """Format a report, as `build_report` returns it, as lines of plain text."""
    totals, run, langs = report["totals"], report["run"], report["langs"]
    out: str = report["settings"]["output"]["path"].rstrip("/")
    rows_left = format_count(totals["rows_left"], "row")
    left = f"; {rows_left} of the corpus not processed yet" if totals["rows_left"] else ""
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in report["reasons"].items())
    lines = [
        f"{report['name']}: {report['status']}, {format_count(totals['shards'], 'shard')} done{left}",
        f"{format_count(totals['rows_in'], 'row')} in = {totals['rows_out']:,} out "
        f"+ {totals['rows_rejected']:,} rejected" + (f" ({reasons})" if reasons else ""),
    ]
    if totals["rows_filtered"]:
        lines.append(f"{format_count(totals['rows_filtered'], 'row')} dropped by input.filter")
    if totals["rows_truncated"]:
        limit = report["settings"]["tokenizer"]["max_length"]
        truncated = format_count(totals["rows_truncated"], "row")
        lines.append(f"{truncated} truncated to {limit:,} tokens; the model did not see the rest of their text")
    if totals["oom_halvings"]:
        lines.append(out_of_memory_note(totals["oom_halvings"]))
    if langs:
        more = f" and {len(langs) - _MAX_LANGS:,} more" if len(langs) > _MAX_LANGS else ""
        names = ", ".join(f"{truncate(lang['lang'], MAX_LANG_CHARS)} {lang['rows']:,}" for lang in langs[:_MAX_LANGS])
        lines.append(f"{format_count(len(langs), 'language')}: {names}{more}")
    if report["failed"]:
        first = report["failed"][0]
        failed = format_count(totals["failed_shards"], "failed shard")
        lines.append(f"{failed}, such as {first['shard']}: {first['error']}")
    tokens, elapsed = format_count(run["tokens"], "token"), format_duration(run["elapsed_s"])
    if run["tokens_per_s"] is None:
        lines.append(f"{format_count(totals['tokens'], 'token')}; none were computed by this run")
    else:
        lines.append(f"{tokens} in {elapsed}, {run['tokens_per_s']:,.0f} tokens/s")
        if bottleneck := describe_bottleneck(run["busy"], run["workers"]):
            lines.append(bottleneck)
    lines.append(f"results in {report['data']} ({format_size(totals['bytes'])}); report in {out}/_xlm/report.html")
    return lines


def out_of_memory_note(num_halvings: int) -> str:
    """Explain what happened when a device ran out of memory, and how to avoid it."""
    return (
        f"out of memory {format_count(num_halvings, 'time')}: the shard was run again with half the tokens per forward "
        "pass; lower batch.max_tokens to avoid this"
    )
