"""The report of a run: what went in, what came out, what did not and why; as values, as lines, as a page.

Pure functions: the ledger's records go in, and nothing is read or written here.
"""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

STAGES = ("read", "tokenize", "infer", "write")

# A broken bucket fails every shard alike: the first errors tell it, and the page stays small.
_MAX_ERRORS = 50
_MAX_SLOWEST = 10
_OPEN_LANGS = 20  # rows of the table that need no click
_MAX_LANGS = 300  # a wrong input.lang under unknown_lang: neutral makes every text a language


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
        run_tokens: tokens of this run, from which its speed follows; None if all records are its own, or, at 0
            seconds, none.

    Returns:
        JSON values; `summary_lines` and `render_html` take them.
    """
    totals = {name: sum(record[name] for record in records) for name in ("rows_read", "rows_in", "rows_out")}
    totals |= {name: sum(record[name] for record in records) for name in ("rows_rejected", "rows_truncated", "tokens")}
    reasons: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    for record in records:
        reasons.update(dict(record["reasons"]))  # pairs from Arrow's map, or a dict already
        for lang in record["langs"]:
            rows[lang["lang"]] += lang["rows"]
            tokens[lang["lang"]] += lang["tokens"]
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
            "bytes": sum(record["bytes"] for record in records),
        },
        "reasons": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        "langs": [
            {"lang": lang, "rows": count, "tokens": tokens[lang]}
            for lang, count in sorted(rows.items(), key=lambda item: (-item[1], item[0]))
        ],
        "stage_seconds": {stage: round(sum(record[f"{stage}_s"] for record in records), 3) for stage in STAGES},
        "run": {
            "elapsed_s": round(elapsed_s, 3),
            "tokens": run_tokens,
            "tokens_per_s": round(run_tokens / elapsed_s, 1) if elapsed_s > 0 else 0.0,
        },
        "failed": [{"shard": shard, "error": error} for shard, error in sorted(failed.items())[:_MAX_ERRORS]],
        "failed_not_shown": max(0, len(failed) - _MAX_ERRORS),
        "slowest": [
            {"shard": record["shard"], "file": record["file"], "rows": record["rows_in"], "tokens": record["tokens"]}
            | {"seconds": round(_seconds(record), 3)}
            for record in slowest
        ],
        "settings": job["spec"],
        "provenance": {key: value for key, value in job.items() if key != "spec"},
    }


def summary_lines(report: dict[str, Any]) -> list[str]:
    """Say in four to eight lines how a run ended: plain text, for a console."""
    totals, run, langs = report["totals"], report["run"], report["langs"]
    out: str = report["settings"]["output"]["path"].rstrip("/")
    left = f"; {_rows(totals['rows_left'])} of the corpus still to do" if totals["rows_left"] else ""
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in report["reasons"].items())
    lines = [
        f"{report['name']}: {report['status']}, {_count(totals['shards'], 'shard')} done{left}",
        f"{_rows(totals['rows_in'])} in = {totals['rows_out']:,} out + {totals['rows_rejected']:,} rejected"
        + (f" ({reasons})" if reasons else ""),
    ]
    if totals["rows_filtered"]:
        lines.append(f"{_rows(totals['rows_filtered'])} left out by input.filter")
    if totals["rows_truncated"]:
        limit = report["settings"]["tokenizer"]["max_length"]
        lines.append(
            f"{_rows(totals['rows_truncated'])} truncated to {limit:,} tokens: what follows in them was not seen"
        )
    if langs:
        more = f" and {len(langs) - 5:,} more" if len(langs) > 5 else ""
        names = ", ".join(f"{_shorten(lang['lang'])} {lang['rows']:,}" for lang in langs[:5])
        lines.append(f"{_count(len(langs), 'language')}: {names}{more}")
    if report["failed"]:
        first = report["failed"][0]
        lines.append(f"{_count(totals['failed_shards'], 'failed shard')}, such as {first['shard']}: {first['error']}")
    speed = f"{_count(run['tokens'], 'token')} in {_duration(run['elapsed_s'])}, {run['tokens_per_s']:,.0f} a second"
    lines.append(speed if run["tokens"] else f"{_count(totals['tokens'], 'token')}; this run had none to add")
    lines.append(f"{out} ({_size(totals['bytes'])}); report in {out}/_xlm/report.html")
    return lines


def render_html(report: dict[str, Any]) -> str:
    """Draw the report as one page that needs nothing from outside; all data in it is escaped."""
    sections = [
        _head(report),
        _failed(report),
        _balance(report),
        _reasons(report),
        _langs(report),
        _stages(report),
        _settings(report),
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


def _head(report: dict[str, Any]) -> str:
    totals, run, spec = report["totals"], report["run"], report["settings"]
    figures = [
        ("rows written", f"{totals['rows_out']:,}", _size(totals["bytes"])),
        ("tokens", f"{totals['tokens']:,}", _per(totals["tokens"], totals["rows_out"], "a row")),
        ("tokens a second", f"{run['tokens_per_s']:,.0f}", f"{_duration(run['elapsed_s'])}, this run"),
        ("languages", f"{len(report['langs']):,}", _count(totals["shards"], "shard")),
    ]
    cards = "".join(
        f"<div class=card><b>{value}</b><span>{label}</span><small>{note}</small></div>"
        for label, value, note in figures
    )
    kind = {"complete": "good", "interrupted": "wait"}.get(report["status"], "bad")
    return (
        f"<header class={kind}><p class=status>{escape(report['status'])}</p><h1>{_bdi(report['name'])}</h1>"
        f"<p>{escape(_verdict(report))}</p><p class=dim>{_bdi(spec['output']['path'])}</p></header>"
        f"<div class=cards>{cards}</div>"
    )


def _verdict(report: dict[str, Any]) -> str:
    totals, policy = report["totals"], report["settings"]["policy"]
    left = f"{_rows(totals['rows_left'])} of {totals['rows_corpus']:,} are still to do."
    match report["status"]:
        case "complete" if totals["failed_shards"]:
            failed = _count(totals["failed_shards"], "shard")
            return f"{failed} failed, which policy.max_failed_shards ({policy['max_failed_shards']:,}) allows. {left}"
        case "complete":
            return "Every row of the corpus is accounted for."
        case "too many rejected rows":
            share = f"{_share(totals['rows_rejected'], totals['rows_in'])} of the rows"
            return (
                f"{share} were rejected; policy.max_rejected is {policy['max_rejected']}. All other rows are written."
            )
        case "interrupted":
            return f"{left} Run the same job again, and it goes on from here."
        case _:
            return f"{left} Run the same job again, and only the missing shards are tried."


def _balance(report: dict[str, Any]) -> str:
    totals = report["totals"]
    parts = [
        ("written", totals["rows_out"], "a"),
        ("rejected", totals["rows_rejected"], "bad"),
        ("left out by the filter", totals["rows_filtered"], "off"),
        ("still to do", totals["rows_left"], "wait"),
    ]
    cut = totals["rows_truncated"]
    limit = report["settings"]["tokenizer"]["max_length"]
    note = (
        f"<p>{_rows(cut)} ({_share(cut, totals['rows_out'])} of those written) had more than {limit:,} tokens and "
        "were truncated: what follows was not seen.</p>"
        if cut
        else ""
    )
    bar = _stacked([(name, n, f"{n:,}", kind) for name, n, kind in parts if n])
    return f"<section><h2>{totals['rows_corpus']:,} rows in the corpus</h2>{bar}{note}</section>"


def _reasons(report: dict[str, Any]) -> str:
    if not report["reasons"]:
        return ""
    most = max(report["reasons"].values())
    total = report["totals"]["rows_in"]
    rows = [
        [_bdi(reason), f"{count:,}", _share(count, total), _bar(count, most, "bad")]
        for reason, count in report["reasons"].items()
    ]
    note = "<p class=dim>Which rows, and why: <code>_xlm/rejected/</code> in the output.</p>"
    return f"<section><h2>Rejected, by reason</h2>{_table(['reason', 'rows', 'of all', ''], rows)}{note}</section>"


def _langs(report: dict[str, Any]) -> str:
    langs = report["langs"]
    if not langs:
        return ""
    total = sum(lang["rows"] for lang in langs)
    rows = [
        [
            f"<code>{_bdi(_shorten(lang['lang']))}</code>",
            f"{lang['rows']:,}",
            f"{lang['tokens']:,}",
            _share(lang["rows"], total),
            _bar(lang["rows"], langs[0]["rows"], "a"),
        ]
        for lang in langs[:_MAX_LANGS]
    ]
    names = ["language", "rows", "tokens", "rows, share", ""]
    html = _table(names, rows[:_OPEN_LANGS])
    if len(rows) > _OPEN_LANGS:
        summary = f"{_count(len(rows) - _OPEN_LANGS, 'more language')}"
        html += f"<details><summary>{summary}</summary>{_table(names, rows[_OPEN_LANGS:])}</details>"
    if len(langs) > _MAX_LANGS:
        rest = langs[_MAX_LANGS:]
        html += f"<p>And {len(rest):,} more, with {_rows(sum(lang['rows'] for lang in rest))}.</p>"
    return f"<section><h2>{_count(len(langs), 'language')}</h2>{html}</section>"


def _stages(report: dict[str, Any]) -> str:
    if not report["slowest"]:
        return ""
    seconds = report["stage_seconds"]
    bar = _stacked([(stage, s, _duration(s), "abcd"[i]) for i, (stage, s) in enumerate(seconds.items())])
    rows = [
        [
            f"<code>{_bdi(shard['shard'])}</code><small>{_bdi(shard['file'])}</small>",
            f"{shard['rows']:,}",
            f"{shard['tokens']:,}",
            _duration(shard["seconds"]),
        ]
        for shard in report["slowest"]
    ]
    slowest = _table(["shard", "rows", "tokens", "time"], rows)
    return (
        f"<section><h2>Where the time went</h2><p class=dim>Summed over {_count(report['totals']['shards'], 'shard')}, "
        f"many of which run at the same time.</p>{bar}"
        f"<details><summary>Slowest shards</summary>{slowest}</details></section>"
    )


def _failed(report: dict[str, Any]) -> str:
    if not report["failed"]:
        return ""
    rows = [[f"<code>{_bdi(shard['shard'])}</code>", _bdi(shard["error"])] for shard in report["failed"]]
    more = f"<p>And {report['failed_not_shown']:,} more.</p>" if report["failed_not_shown"] else ""
    heading = _count(report["totals"]["failed_shards"], "failed shard")
    return f"<section><h2>{heading}</h2>{_table(['shard', 'error'], rows, 'words')}{more}</section>"


def _settings(report: dict[str, Any]) -> str:
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
    """Draw parts of a whole; each has a name, a value, the value as text, and a colour."""
    total = sum(value for _, value, _, _ in parts) or 1
    bars = "".join(
        f'<i class={kind} style="flex-grow:{value / total:.5f}"></i>' for _, value, _, kind in parts if value
    )
    legend = "".join(
        f"<li><i class={kind}></i>{name} <b>{text}</b> <small>{_share(value, total)}</small></li>"
        for name, value, text, kind in parts
    )
    return f"<div class=stack>{bars}</div><ul class=legend>{legend}</ul>"


def _bdi(text: str) -> str:
    """Escape text and keep its direction, right-to-left marks included, from its surroundings."""
    return f"<bdi>{escape(text)}</bdi>"


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100).rstrip()


def _seconds(record: dict[str, Any]) -> float:
    return sum(record[f"{stage}_s"] for stage in STAGES)


def _shorten(text: str, length: int = 24) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _rows(number: int) -> str:
    return _count(number, "row")


def _share(part: float, whole: float) -> str:
    percent = 100 * part / whole if whole else 0.0
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %"


def _per(value: float, count: int, unit: str) -> str:
    return f"{value / count:,.0f} {unit}" if count else ""


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def _size(size_bytes: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} bytes" if unit == "bytes" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:,.1f} TB"


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
