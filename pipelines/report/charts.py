"""The values of the charts of a page, taken from the report."""

from __future__ import annotations

from typing import Any

from pipelines.report.timeline import OPTIONAL_STAGES, STAGES

_MAX_INTERVALS = 40  # of the chart of throughput: a phone has room for no more
_FEW_INTERVALS = 8
_MIN_INTERVALS = 3  # with results; fewer are no chart
_MAX_LANGS = 12  # colours that can be distinguished


def build_charts(report: dict[str, Any]) -> dict[str, Any]:
    """Return the values of each chart as JSON; None for charts that would be empty."""
    return {
        "timeline": _timeline(report["run"]["timeline"]),
        "lengths": _lengths(report["langs"]),
        "statistics": (report["statistics"] or {}).get("columns"),
    }


def _timeline(timeline: dict[str, Any]) -> dict[str, Any] | None:
    """Merge the intervals from the first results on, until they are few enough to draw.

    The speed of a stage is the tokens of the shards that finished, divided by the seconds that the stage took for them.
    """
    used = [i for i, number in enumerate(timeline["tokens"]) if number > 0]
    if len(used) < _MIN_INTERVALS:
        return None
    # Shards can take longer than an interval. With about as many intervals as had results, few are empty by chance.
    num_shown = min(max(len(used), _FEW_INTERVALS), _MAX_INTERVALS)
    merged = -(-(len(timeline["tokens"]) - used[0]) // num_shown)
    tokens = _merge(timeline["tokens"][used[0] :], merged)
    interval_s = timeline["interval_s"] * merged
    return {
        "start_s": timeline["interval_s"] * used[0],
        "interval_s": interval_s,
        "tokens_per_s": [round(number / interval_s, 1) for number in tokens],
        "stages": {
            stage: [
                round(number / seconds, 1) if number and seconds else None
                for number, seconds in zip(tokens, _merge(timeline[f"{stage}_s"][used[0] :], merged), strict=True)
            ]
            for stage in STAGES
            if stage not in OPTIONAL_STAGES or any(timeline[f"{stage}_s"])
        },
    }


def _merge(values: list[float], number: int) -> list[float]:
    return [sum(values[i : i + number]) for i in range(0, len(values), number)]


def _lengths(langs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the number of rows by their number of tokens, for all languages and the most frequent ones."""
    with_lengths = [lang for lang in langs if any(lang["lengths"])]
    if not with_lengths:
        return None
    totals = [sum(counts) for counts in zip(*(lang["lengths"] for lang in with_lengths), strict=True)]
    used = [i for i, count in enumerate(totals) if count]
    first, last = used[0], used[-1] + 1
    counts = {lang["lang"]: lang["lengths"][first:last] for lang in with_lengths[:_MAX_LANGS]}
    return {
        "bins": [_describe_bin(i, last=i == len(totals) - 1) for i in range(first, last)],
        "counts": {"": totals[first:last], **counts},
    }


def _describe_bin(i: int, *, last: bool) -> str:
    if last:
        return f"{2**i:,} or more"
    return "1" if i == 0 else f"{2**i:,}–{2 ** (i + 1) - 1:,}"
