"""The report of a run, as values, as a console summary and as an HTML page."""

from pipelines.report.bottleneck import describe_bottleneck
from pipelines.report.html import render_or_explain, render_page, to_yaml
from pipelines.report.page import render_html
from pipelines.report.statistics import collect_statistics
from pipelines.report.summary import summary_lines
from pipelines.report.timeline import OPTIONAL_STAGES, STAGES, Timeline
from pipelines.report.totals import RunRecord, build_report

__all__ = [
    "OPTIONAL_STAGES",
    "STAGES",
    "RunRecord",
    "Timeline",
    "build_report",
    "collect_statistics",
    "describe_bottleneck",
    "render_html",
    "render_or_explain",
    "render_page",
    "summary_lines",
    "to_yaml",
]
