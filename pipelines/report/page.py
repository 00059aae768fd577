"""Render a report as an HTML page: a single file without scripts or external resources."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import yaml

from pipelines.formatting import format_count, format_duration, format_percent, format_size, truncate
from pipelines.report.summary import MAX_LANG_CHARS, out_of_memory_note

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MAX_OPEN_LANGS = 20  # table rows that are visible without a click
_MAX_LANGS = 300


def render_html(report: dict[str, Any]) -> str:
    """Render a report, as `build_report` returns it. All data is escaped."""
    sections = [
        _header(report),
        _failed_shards(report),
        _row_balance(report),
        _rejection_reasons(report),
        _langs(report),
        _stage_times(report),
        _job_settings(report),
    ]
    title = f"{escape(report['name'])}: {escape(report['status'])}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(section for section in sections if section)
        + "\n</main>\n</body>\n</html>\n"
    )


def _header(report: dict[str, Any]) -> str:
    totals, run = report["totals"], report["run"]
    per_row = f"{totals['tokens'] / totals['rows_out']:,.0f} per row" if totals["rows_out"] else ""
    figures = [
        ("rows written", f"{totals['rows_out']:,}", format_size(totals["bytes"])),
        ("tokens", f"{totals['tokens']:,}", per_row),
        ("tokens per second", f"{run['tokens_per_s'] or 0:,.0f}", f"{format_duration(run['elapsed_s'])}, this run"),
        ("languages", f"{len(report['langs']):,}", format_count(totals["shards"], "shard")),
    ]
    cards = "".join(
        f"<div class=card><b>{value}</b><span>{label}</span><small>{note}</small></div>"
        for label, value, note in figures
    )
    kinds = {"complete": "good", "complete except for failed shards": "wait", "interrupted": "wait"}
    kind = kinds.get(report["status"], "bad")
    return (
        f"<header class={kind}><p class=status>{escape(report['status'])}</p><h1>{_bdi(report['name'])}</h1>"
        f"<p>{escape(_verdict(report))}</p><p class=dim>results in {_bdi(report['data'])}</p></header>"
        f"<div class=cards>{cards}</div>"
    )


def _verdict(report: dict[str, Any]) -> str:
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


def _row_balance(report: dict[str, Any]) -> str:
    totals = report["totals"]
    parts = [
        ("written", totals["rows_out"], "a"),
        ("rejected", totals["rows_rejected"], "bad"),
        ("dropped by the filter", totals["rows_filtered"], "off"),
        ("not processed yet", totals["rows_left"], "wait"),
    ]
    truncated = totals["rows_truncated"]
    limit = report["settings"]["tokenizer"]["max_length"]
    note = ""
    if truncated:
        rows = f"{format_count(truncated, 'row')} ({format_percent(truncated, totals['rows_out'])} of those written)"
        note = f"<p>{rows} had more than {limit:,} tokens and were truncated; the model did not see the rest.</p>"
    if totals["oom_halvings"]:
        note += f"<p>{out_of_memory_note(totals['oom_halvings']).capitalize()}.</p>"
    bar = _stacked([(name, n, f"{n:,}", kind) for name, n, kind in parts if n])
    return f"<section><h2>{format_count(totals['rows_corpus'], 'row')} in the corpus</h2>{bar}{note}</section>"


def _rejection_reasons(report: dict[str, Any]) -> str:
    if not report["reasons"]:
        return ""
    most = max(report["reasons"].values())
    total = report["totals"]["rows_in"]
    rows = [
        [_bdi(reason), f"{count:,}", format_percent(count, total), _bar(count, most, "bad")]
        for reason, count in report["reasons"].items()
    ]
    note = "<p class=dim>The rejected rows are listed in <code>_xlm/rejected/</code> in the output.</p>"
    return f"<section><h2>Rejected rows by reason</h2>{_table(['reason', 'rows', 'share', ''], rows)}{note}</section>"


def _langs(report: dict[str, Any]) -> str:
    langs = report["langs"]
    if not langs:
        return ""
    total = sum(lang["rows"] for lang in langs)
    rows = [
        [
            f"<code>{_bdi(truncate(lang['lang'], MAX_LANG_CHARS))}</code>",
            f"{lang['rows']:,}",
            f"{lang['tokens']:,}",
            format_percent(lang["unknown"], lang["tokens"] + lang["truncated"]),  # counted before truncation
            f"{lang['truncated']:,}",
            format_percent(lang["rows"], total),
            _bar(lang["rows"], langs[0]["rows"], "a"),
        ]
        for lang in langs[:_MAX_LANGS]
    ]
    names = ["language", "rows", "tokens", "unknown", "truncated", "share of rows", ""]
    html = _table(names, rows[:_MAX_OPEN_LANGS])
    if len(rows) > _MAX_OPEN_LANGS:
        summary = format_count(len(rows) - _MAX_OPEN_LANGS, "more language")
        html += f"<details><summary>{summary}</summary>{_table(names, rows[_MAX_OPEN_LANGS:])}</details>"
    if len(langs) > _MAX_LANGS:
        rest = langs[_MAX_LANGS:]
        html += f"<p>And {len(rest):,} more with {format_count(sum(lang['rows'] for lang in rest), 'row')}.</p>"
    return f"<section><h2>{format_count(len(langs), 'language')}</h2>{html}</section>"


def _stage_times(report: dict[str, Any]) -> str:
    if not report["slowest"]:
        return ""
    seconds = report["stage_seconds"]
    bar = _stacked([(stage, s, format_duration(s), "abcd"[i]) for i, (stage, s) in enumerate(seconds.items())])
    rows = [
        [
            f"<code>{_bdi(shard['shard'])}</code><small>{_bdi(shard['file'])}</small>",
            f"{shard['rows']:,}",
            f"{shard['tokens']:,}",
            format_duration(shard["seconds"]),
        ]
        for shard in report["slowest"]
    ]
    slowest = _table(["shard", "rows", "tokens", "time"], rows)
    shards = format_count(report["totals"]["shards"], "shard")
    return (
        f"<section><h2>Time by stage</h2><p class=dim>Summed over {shards}; "
        f"shards run concurrently.</p>{bar}"
        f"<details><summary>Slowest shards</summary>{slowest}</details></section>"
    )


def _failed_shards(report: dict[str, Any]) -> str:
    if not report["failed"]:
        return ""
    rows = [[f"<code>{_bdi(shard['shard'])}</code>", _bdi(shard["error"])] for shard in report["failed"]]
    more = f"<p>And {report['failed_not_shown']:,} more.</p>" if report["failed_not_shown"] else ""
    heading = format_count(report["totals"]["failed_shards"], "failed shard")
    return f"<section><h2>{heading}</h2>{_table(['shard', 'error'], rows, 'words')}{more}</section>"


def _job_settings(report: dict[str, Any]) -> str:
    settings, provenance = (escape(_yaml(report[key])) for key in ("settings", "provenance"))
    return (
        f"<section><h2>The job</h2><pre>{settings}</pre>"
        f"<details><summary>Fingerprint and versions</summary><pre>{provenance}</pre></details></section>"
    )


def _table(names: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "numbers") -> str:
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=scroll><table class={kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _bar(value: float, most: float, kind: str) -> str:
    return f'<div class=bar><i class={kind} style="width:{100 * value / max(most, 1):.2f}%"></i></div>'


def _stacked(parts: Sequence[tuple[str, float, str, str]]) -> str:
    """Render a stacked bar with a legend; each part has a name, a value, the value as text, and a colour class."""
    total = sum(value for _, value, _, _ in parts) or 1
    bars = "".join(
        f'<i class={kind} style="flex-grow:{value / total:.5f}"></i>' for _, value, _, kind in parts if value
    )
    legend = "".join(
        f"<li><i class={kind}></i>{name} <b>{text}</b> <small>{format_percent(value, total)}</small></li>"
        for name, value, text, kind in parts
    )
    return f"<div class=stack>{bars}</div><ul class=legend>{legend}</ul>"


def _bdi(text: str) -> str:
    """Escape text, and isolate its writing direction, right-to-left marks included, from the surrounding text."""
    return f"<bdi>{escape(text)}</bdi>"


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100).rstrip()


_CSS = """
:root { --bg: #f6f7f9; --card: #fff; --ink: #1b2330; --dim: #5d6879; --line: #e2e6ec; --off: #b9c1cd;
  --a: #3a6fd8; --b: #d98e1f; --c: #7d56d0; --d: #2b9a86; --good: #1b7f4d; --wait: #b07607; --bad: #c8384a; }
@media (prefers-color-scheme: dark) { :root { --bg: #11151b; --card: #1a2028; --ink: #e6eaf0; --dim: #9aa6b6;
  --line: #2c3541; --off: #4b5666; --a: #6c9bf5; --b: #e8ab4d; --c: #a688f0; --d: #4fc0ac; --good: #4cc38a;
  --wait: #e5b04a; --bad: #f0707f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { margin: .4rem 0 .5rem; font-size: 2rem; line-height: 1.2; letter-spacing: -.02em; overflow-wrap: anywhere; }
h2 { margin: 0 0 .9rem; font-size: 1.05rem; }
p { margin: .3rem 0; } .dim, small { color: var(--dim); } header .dim { overflow-wrap: anywhere; font-size: .87rem; }
.status { display: inline-flex; align-items: center; gap: .5rem; margin: 0; padding: .15rem .8rem .15rem .65rem;
  border: 1px solid currentColor; border-radius: 2rem; font-weight: 600; font-size: .87rem; }
.status::before { content: ""; width: .55rem; height: .55rem; border-radius: 50%; background: currentColor; }
.good .status { color: var(--good); } .wait .status { color: var(--wait); } .bad .status { color: var(--bad); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .75rem;
  margin: 1.5rem 0 .75rem; }
.card, section { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; }
.card { padding: .9rem 1.1rem; display: flex; flex-direction: column; }
.card b { font-size: 1.45rem; line-height: 1.3; letter-spacing: -.01em; font-variant-numeric: tabular-nums; }
section { padding: 1.2rem 1.35rem; margin: .75rem 0; }
.stack { display: flex; gap: 2px; height: 1.5rem; margin: .8rem 0; border-radius: .35rem; overflow: hidden; }
.stack i { flex: 0 1 0; min-width: 3px; } .bar i { display: block; height: 100%; min-width: 2px; border-radius: 2px; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; margin: 0 0 .4rem; padding: 0; list-style: none; }
.legend i { display: inline-block; width: .7rem; height: .7rem; margin-right: .5rem; border-radius: .15rem; }
.bar { height: .6rem; min-width: 4rem; }
.a { background: var(--a); } .b { background: var(--b); } .c { background: var(--c); } .d { background: var(--d); }
i.bad { background: var(--bad); } i.off { background: var(--off); } i.wait { background: var(--wait); }
.scroll { overflow-x: auto; } table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { color: var(--dim); font-weight: 500; font-size: .82rem; }
th, td { padding: .35rem 1rem .35rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
tr:last-child td { border-bottom: 0; } td small { display: block; }
.numbers :is(th, td):not(:first-child) { text-align: right; white-space: nowrap; }
.numbers td:has(.bar) { width: 40%; padding-right: 0; vertical-align: middle; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: .85em; }
td { overflow-wrap: anywhere; } .numbers td:first-child { min-width: 6.5rem; } .words code { white-space: nowrap; }
pre { margin: 0; overflow-x: auto; line-height: 1.55; } details { margin-top: .7rem; }
summary { cursor: pointer; color: var(--dim); } details > :last-child { margin-top: .6rem; }
@media (max-width: 40rem) { main { padding: 1.5rem .8rem 3rem; } section { padding: 1rem; } h1 { font-size: 1.6rem; }
  .cards { grid-template-columns: 1fr 1fr; } .card { padding: .75rem .9rem; } .card b { font-size: 1.15rem; }
  table { font-size: .88rem; } th, td { padding-right: .6rem; } .numbers td:first-child { min-width: 3.5rem; }
  .numbers td:has(.bar) { width: 25%; } .bar { min-width: 2rem; }
  .numbers :is(th, td):nth-last-child(2) { display: none; } .words thead { display: none; }
  .words td { display: block; padding-right: 0; } .words td:first-child { padding-bottom: 0; border: 0; } }
"""
