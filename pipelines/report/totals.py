"""The report of a run: what went in, what came out, what did not and why; as values and as lines.

Pure functions: the ledger's records go in, and nothing is read or written here.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pipelines.formatting import counted, duration, shorten, size
from pipelines.output.ledger import LANG_COUNTS, SHARD_COUNTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STAGES = ("read", "tokenize", "infer", "write")

# A broken bucket fails every shard alike: the first errors tell it, and the page stays small.
_MAX_ERRORS = 50
_MAX_SLOWEST = 10
MAX_LANG_CHARS = 24  # a wrong input.lang under unknown_lang: neutral makes every text a language


def build_report(
    job: dict[str, Any],
    plan_rows: int,
    records: Sequence[dict[str, Any]],
    failed: Mapping[str, str],
    elapsed_s: float,
    status: str,
    *,
    run_tokens: int | None = None,
) -> dict[str, Any]:
    """Sum up a job's ledger and its last run.

    Args:
        job: what `job.json` holds: the resolved settings as `spec`, the fingerprint, and whatever else it says.
        plan_rows: rows of the corpus, before the filter.
        records: of all committed shards, those of earlier runs included.
        failed: the error of each shard that this run gave up on.
        elapsed_s: of this run.
        status: "complete", "failed shards", "too many rejected rows" or "interrupted".
        run_tokens: tokens of this run, from which its speed follows; without it, all records are this run's.

    Returns:
        JSON values; `summary_lines` and `report_page.render_html` take them.
    """
    totals = {name: sum(record[name] for record in records) for name in SHARD_COUNTS}
    reasons: Counter[str] = Counter()
    by_lang: dict[str, Counter[str]] = {name: Counter() for name in LANG_COUNTS}
    for record in records:
        reasons.update(dict(record["reasons"]))  # pairs from Arrow's map, or a dict already
        for lang in record["langs"]:
            for name, counts in by_lang.items():
                counts[lang["lang"]] += lang[name]
    if run_tokens is None:
        run_tokens = totals["tokens"] if elapsed_s > 0 else 0
    slowest = sorted(records, key=lambda record: (-_seconds(record), record["shard"]))[:_MAX_SLOWEST]
    return {
        "status": status,
        "name": job["spec"]["name"],
        "totals": {
            "shards": len(records),
            "failed_shards": len(failed),
            "rows_corpus": plan_rows,
            "rows_left": plan_rows - totals["rows_read"],
            "rows_filtered": totals["rows_read"] - totals["rows_in"],
            **totals,
        },
        "reasons": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        "langs": [
            {"lang": lang, **{name: counts[lang] for name, counts in by_lang.items()}}
            for lang, _ in sorted(by_lang["rows"].items(), key=lambda item: (-item[1], item[0]))
        ],
        "stage_seconds": {stage: round(sum(record[f"{stage}_s"] for record in records), 3) for stage in _STAGES},
        "run": {
            "elapsed_s": round(elapsed_s, 3),
            "tokens": run_tokens,
            "tokens_per_s": round(run_tokens / elapsed_s, 1) if elapsed_s > 0 else 0.0,
        },
        "failed": [{"shard": shard, "error": error} for shard, error in sorted(failed.items())[:_MAX_ERRORS]],
        "failed_not_shown": max(0, len(failed) - _MAX_ERRORS),
        "slowest": [
            {
                "shard": record["shard"],
                "file": record["file"],
                "rows": record["rows_in"],
                "tokens": record["tokens"],
                "seconds": round(_seconds(record), 3),
            }
            for record in slowest
        ],
        "settings": job["spec"],
        "provenance": {key: value for key, value in job.items() if key != "spec"},
    }


def summary_lines(report: dict[str, Any]) -> list[str]:
    """Say in a few lines how a run ended: plain text, for a console."""
    totals, run, langs = report["totals"], report["run"], report["langs"]
    out: str = report["settings"]["output"]["path"].rstrip("/")
    left = f"; {counted(totals['rows_left'], 'row')} of the corpus still to do" if totals["rows_left"] else ""
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in report["reasons"].items())
    lines = [
        f"{report['name']}: {report['status']}, {counted(totals['shards'], 'shard')} done{left}",
        f"{counted(totals['rows_in'], 'row')} in = {totals['rows_out']:,} out + {totals['rows_rejected']:,} rejected"
        + (f" ({reasons})" if reasons else ""),
    ]
    if totals["rows_filtered"]:
        lines.append(f"{counted(totals['rows_filtered'], 'row')} left out by input.filter")
    if totals["rows_truncated"]:
        limit = report["settings"]["tokenizer"]["max_length"]
        cut = counted(totals["rows_truncated"], "row")
        lines.append(f"{cut} truncated to {limit:,} tokens: what follows in them was not seen")
    if totals["oom_halvings"]:
        lines.append(out_of_memory(totals["oom_halvings"]))
    if langs:
        more = f" and {len(langs) - 5:,} more" if len(langs) > 5 else ""
        names = ", ".join(f"{shorten(lang['lang'], MAX_LANG_CHARS)} {lang['rows']:,}" for lang in langs[:5])
        lines.append(f"{counted(len(langs), 'language')}: {names}{more}")
    if report["failed"]:
        first = report["failed"][0]
        lines.append(f"{counted(totals['failed_shards'], 'failed shard')}, such as {first['shard']}: {first['error']}")
    speed = f"{counted(run['tokens'], 'token')} in {duration(run['elapsed_s'])}, {run['tokens_per_s']:,.0f} a second"
    lines.append(speed if run["tokens"] else f"{counted(totals['tokens'], 'token')}; this run had none to add")
    lines.append(f"{out} ({size(totals['bytes'])}); report in {out}/_xlm/report.html")
    return lines


def out_of_memory(halvings: int) -> str:
    """Say that devices ran out of memory, and what it cost."""
    return (
        f"memory ran out {counted(halvings, 'time')}: the tokens of a pass were halved, and the shard was run again; "
        "a lower batch.max_tokens saves that"
    )


def _seconds(record: dict[str, Any]) -> float:
    return sum(record[f"{stage}_s"] for stage in _STAGES)
