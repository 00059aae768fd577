"""The report of a run, as values, as a console summary and as an HTML page."""

from pipelines.report.page import render_html
from pipelines.report.summary import summary_lines
from pipelines.report.totals import build_report

__all__ = [
    "build_report",
    "render_html",
    "summary_lines",
]
