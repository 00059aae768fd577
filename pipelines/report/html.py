"""Render a page: one HTML file that loads nothing and can be read without JavaScript.

Numbers and tables are HTML. Charts are drawn by ECharts, which is part of the page, from values in a block of JSON. The
page's Content-Security-Policy permits its own two scripts and its style sheet, by their hashes, and no request.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipelines.formatting import format_count, format_duration, format_percent, format_size, truncate
from pipelines.log import format_traceback, logger
from pipelines.report.explanations import explain_reason, unbroken
from pipelines.report.summary import MAX_LANG_CHARS, out_of_memory_note

if TYPE_CHECKING:
    from collections.abc import Callable

_FOLDER = Path(__file__).parent
_TEMPLATES = _FOLDER / "templates"
_ECHARTS = _FOLDER / "vendor" / "echarts.common.min.js"

_ERROR_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Report</title>'
    "<p>This page could not be written. The numbers are in report.json, and the log has the error; please report it."
)


def render_page(template: str, charts: dict[str, Any], **values: Any) -> str:
    """Render a page. All data is escaped.

    Args:
        template: the name of a file in `templates` that extends `page.html.j2`.
        charts: the values of each kind of chart, as JSON; None or an empty list for charts that would be empty.
        values: what the template shows.
    """
    scripts, style = [_ECHARTS.read_text(encoding="utf-8"), _read("charts.js")], _read("style.css")
    return (
        _environment()
        .get_template(template)
        .render(
            charts=charts,
            has_charts=any(charts.values()),
            policy=_content_security_policy(scripts, style),
            scripts=[Markup(script) for script in scripts],
            style=Markup(style),
            **values,
        )
    )


def render_or_explain(render: Callable[[dict[str, Any]], str], report: dict[str, Any]) -> str:
    """Render a report, or a page that names report.json if there is an error, which is logged.

    A run whose results are written must be able to end.
    """
    try:
        return render(report)
    except Exception as error:
        logger.error("the page of the report could not be written\n%s", format_traceback(error))
        return _ERROR_PAGE


def to_yaml(value: object) -> str:
    """Format a value as it is in a job file."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100).rstrip()


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
