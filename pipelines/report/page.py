"""Render the report of a run as an HTML page."""

from __future__ import annotations

from typing import Any

from pipelines.report.bottleneck import describe_bottleneck
from pipelines.report.charts import build_charts
from pipelines.report.explanations import describe_status, describe_verdict, next_step
from pipelines.report.html import render_page, to_yaml

_MAX_OPEN_LANGS = 20  # table rows that are visible without a click
_MAX_LANGS = 300
_MAX_CATEGORIES = 12  # labels that a table names
_STATUS_KINDS = {"complete": "good", "complete except for failed shards": "wait", "interrupted": "wait"}
# The schema in binary form, and what the page shows elsewhere.
_HIDDEN_PROVENANCE = {"schema", "columns", "metadata", "segmenters"}


def render_html(report: dict[str, Any]) -> str:
    """Render a report, as `build_report` returns it. All data is escaped."""
    langs = report["langs"]
    return render_page(
        "report.html.j2",
        build_charts(report),
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
        other_provenance=to_yaml({k: v for k, v in report["provenance"].items() if k not in _HIDDEN_PROVENANCE}),
        settings_yaml=to_yaml(report["settings"]),
    )


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
