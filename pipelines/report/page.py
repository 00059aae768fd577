"""Render a report as an HTML page: one file that loads nothing and can be read without JavaScript.

Numbers and tables are HTML. Charts are drawn by ECharts, which is part of the page, from values in a block of JSON. The
page's Content-Security-Policy permits its own two scripts and its style sheet, by their hashes, and no request.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipelines.formatting import format_count, format_duration, format_percent, format_size, truncate
from pipelines.log import format_traceback, logger
from pipelines.report.bottleneck import describe_bottleneck
from pipelines.report.charts import build_charts
from pipelines.report.explanations import (
    describe_status,
    describe_verdict,
    explain_reason,
    next_step,
    unbroken,
)
from pipelines.report.summary import MAX_LANG_CHARS, out_of_memory_note

_FOLDER = Path(__file__).parent
_TEMPLATES = _FOLDER / "templates"
_ECHARTS = _FOLDER / "vendor" / "echarts.common.min.js"

_ERROR_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Report</title>'
    "<p>This page could not be written. The numbers are in report.json, and the log has the error; please report it."
)
_MAX_OPEN_LANGS = 20  # table rows that are visible without a click
_MAX_LANGS = 300
_MAX_CATEGORIES = 12  # labels that a table names
_STATUS_KINDS = {"complete": "good", "complete except for failed shards": "wait", "interrupted": "wait"}
# The schema in binary form, and what the page shows elsewhere.
_HIDDEN_PROVENANCE = {"schema", "columns", "metadata", "segmenters"}


def render_or_explain(report: dict[str, Any]) -> str:
    """Render a report, or a page that names report.json if there is an error, which is logged.

    A run whose results are written must be able to end.
    """
    try:
        return render_html(report)
    except Exception as error:
        logger.error("the page of the report could not be written\n%s", format_traceback(error))
        return _ERROR_PAGE


def render_html(report: dict[str, Any]) -> str:
    """Render a report, as `build_report` returns it. All data is escaped."""
    scripts = [_ECHARTS.read_text(encoding="utf-8"), _read("charts.js")]
    style = _read("style.css")
    langs, charts = report["langs"], build_charts(report)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            totals=report["totals"],
            run=report["run"],
            settings=report["settings"],
            provenance=report["provenance"],
            status_kind=_STATUS_KINDS.get(report["status"], "bad"),
            verdict=describe_verdict(report),
            description=describe_status(report),
            next_step=next_step(report),
            bottleneck=describe_bottleneck(report["run"]["busy"], report["run"]["workers"]),
            open_langs=langs[:_MAX_OPEN_LANGS],
            more_langs=langs[_MAX_OPEN_LANGS:_MAX_LANGS],
            other_langs=langs[_MAX_LANGS:],
            statistics=report["statistics"],
            columns=[_with_table(column) for column in (report["statistics"] or {"columns": []})["columns"]],
            other_provenance=_yaml({k: v for k, v in report["provenance"].items() if k not in _HIDDEN_PROVENANCE}),
            settings_yaml=_yaml(report["settings"]),
            charts=charts,
            has_charts=any(charts.values()),
            policy=_content_security_policy(scripts, style),
            scripts=[Markup(script) for script in scripts],
            style=Markup(style),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # By default, keys are sorted, and languages would lose their order by frequency.
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False}
    filters: dict[str, Any] = {
        "number": lambda value: f"{value:,}",
        "rounded": lambda value: f"{value:,.0f}",
        "significant": _significant,
        "plural": format_count,
        "duration": lambda seconds: unbroken(format_duration(seconds)),
        "size": format_size,
        "time": lambda time: f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M} UTC",
        "isolate": _isolate,
        "lang": _shorten_lang,
        "reason": explain_reason,
        "out_of_memory": out_of_memory_note,
    }
    functions: dict[str, Any] = {"percent": lambda part, whole: unbroken(format_percent(part, whole))}
    environment.filters.update(filters)
    environment.globals.update(functions)
    return environment


def _with_table(column: dict[str, Any]) -> dict[str, Any]:
    """Add what the page says about a statistic in addition to its chart; "" stands for all languages."""
    match column["kind"]:
        case "labels":
            total, counts = column["totals"][""], column["counts"][""]
            rows = list(zip(column["labels"], counts, strict=True))[:_MAX_CATEGORIES]
            langs = [
                {
                    "lang": lang,
                    "count": column["totals"][lang],
                    "top": [(column["labels"][i], count) for i, count in _largest(column["counts"][lang], 3)],
                }
                for lang in column["totals"]
                if lang
            ]
            return column | {"total": total, "rows": rows, "rest": total - sum(n for _, n in rows), "langs": langs}
        case "numbers":
            rows = [
                {"lang": lang, "count": sum(column["counts"][lang]), "median": median}
                for lang, median in column["medians"].items()
            ]
            return column | {"rows": rows}
        case _:
            return column | {"total": sum(map(len, column["points"].values()))}


def _largest(counts: list[int], number: int) -> list[tuple[int, int]]:
    order = sorted(range(len(counts)), key=lambda i: -counts[i])
    return [(i, counts[i]) for i in order[:number] if counts[i]]


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _content_security_policy(scripts: list[str], style: str) -> str:
    hashes = " ".join(_source_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src {_source_hash(style)}; base-uri 'none'; form-action 'none'"
    )


def _source_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _isolate(text: object) -> Markup:
    """Escape text, and isolate its writing direction, right-to-left marks included, from the surrounding text."""
    return Markup("<bdi>{}</bdi>").format(text)


def _shorten_lang(lang: str) -> Markup:
    return _isolate(truncate(lang, MAX_LANG_CHARS))


def _significant(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100).rstrip()
