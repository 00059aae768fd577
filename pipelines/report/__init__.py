"""The report of a run, as values, as a console summary and as an HTML page."""

from pipelines.report.page import render_html
from pipelines.report.sample import read_sample
from pipelines.report.statistics import summarize
from pipelines.report.summary import summary_lines
from pipelines.report.timeline import Timeline
from pipelines.report.totals import build_report

__all__ = [
    "Timeline",
    "build_report",
    "read_sample",
    "render_html",
    "summarize",
    "summary_lines",
]
