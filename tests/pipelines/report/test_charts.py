"""The values of the report's charts."""

import pytest

from pipelines.report.charts import build_charts
from pipelines.report.timeline import Timeline
from tests.pipelines.output.shard_records import make_record


def chart_of(timeline):
    return build_charts({"run": {"timeline": timeline.to_json()}, "langs": [], "statistics": None})["timeline"]


@pytest.mark.parametrize("duration_s", [20, 50, 500, 50_000])
def test_chart_of_the_speed_begins_with_the_first_results_and_has_all_of_them(duration_s):
    """Workers can take minutes to start, which would leave little room for a short run."""
    timeline, begin_s, num = Timeline(), 300, 60
    for i in range(num):
        timeline.add(begin_s + duration_s * i / num, make_record(i, tokens=700, infer_s=2.0))
    chart = chart_of(timeline)
    assert abs(chart["start_s"] - begin_s) <= timeline.to_json()["interval_s"]
    shown_s = chart["interval_s"] * len(chart["tokens_per_s"])
    assert duration_s * (num - 1) / num <= shown_s <= 1.5 * duration_s + 1
    assert sum(chart["tokens_per_s"]) * chart["interval_s"] == pytest.approx(700 * num, rel=0.01)
    assert {speed for speed in chart["stages"]["infer"] if speed} == {350.0}
    assert len(chart["tokens_per_s"]) <= 40


def test_two_results_are_no_chart():
    timeline = Timeline()
    for elapsed_s in (3, 9):
        timeline.add(elapsed_s, make_record(0))
    assert chart_of(timeline) is None
