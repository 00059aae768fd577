"""The page of a training shows what its report has, and is safe."""

import json

import pytest

from pipelines.train.reporting.curves import build_curves
from pipelines.train.reporting.page import render_training
from tests.pipelines.report.example_report import Page, text_of
from tests.pipelines.train.reporting.example_training import make_report

HOSTILE = "</script><script>attack()</script>"


@pytest.mark.parametrize(
    ("status", "num_steps", "shown"),
    [
        ("complete", 400, "Trained tags as of 2025-11-30 00:46 UTC . All 400 steps are done."),
        ("running", 120, "Training tags as of 2025-11-30 00:46 UTC . 120 of 400 steps are done."),
        ("running", 0, "Training tags as of 2025-11-30 00:46 UTC . 0 of 400 steps are done."),
        ("interrupted", 120, "Interrupted tags as of 2025-11-30 00:46 UTC . 120 of 400 steps are done."),
        ("failed", 120, "Failed tags as of 2025-11-30 00:46 UTC . It failed after 120 of 400 steps: no luck"),
    ],
)
def test_every_status_has_a_page_and_is_json(status, num_steps, shown):
    report = make_report(num_steps, status, error="no luck" if status == "failed" else None)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    html = render_training(report)
    assert shown in text_of(html)
    assert Page(html).open == []


def test_page_shows_the_numbers_of_the_report():
    text = text_of(render_training(make_report()))
    for expected in (
        "steps 400 of 400, since 2025-11-29 23:46 UTC",
        "tokens 40,000 in 3 min 20 s of steps",
        "tokens per second 200 on 1 worker, CPU",
        "parameters 1,000 10.0 % of them trained",
        "upos token-classification 200 2.00 0.0105 0.0125 40.00 %",
        "The lowest loss on dev is 0.0125, after 400 steps, with an accuracy of 40.00 %.",
        "upos 1,000 990 10 unknown_lang 8 empty_text 2 1.0 % upos, dev 100 100 0 0.0 %",
        "2 labels of upos NOUN VERB",
        "torch 2.11",
        "learning_rate: 0.0001",
    ):
        assert expected in text, expected


def test_charts_have_all_curves_with_few_points():
    charts = build_curves(make_report())
    assert [(chart["objective"], chart["title"]) for chart in charts] == [
        ("upos", "loss by step"),
        ("masked-language-modeling", "loss by step"),
        (None, "accuracy on dev by step"),
        (None, "learning rate by step"),
        (None, "norm of the gradient by step, before it is limited"),
        (None, "tokens per second by step"),
    ]
    assert [series["name"] for series in charts[0]["series"]] == ["training", "dev"]
    assert charts[0]["series"][1]["points"] == [[100, 0.05], [200, 0.025], [300, 5 / 300], [400, 0.0125]]
    assert charts[5]["series"][0]["points"][0] == [10, 200.0]
    for chart in charts:
        for series in chart["series"]:
            steps = [step for step, _ in series["points"]]
            assert 4 <= len(steps) <= 150
            assert steps == sorted(set(steps))
            assert steps[-1] in (399, 400)


def test_loss_that_is_not_finite_is_left_out_of_the_charts():
    report = make_report()
    report["objectives"][0]["evaluations"][0]["loss"] = float("nan")
    assert len(build_curves(report)[0]["series"][1]["points"]) == 3
    assert "Trained" in render_training(report)


def test_data_is_never_rendered_as_markup_and_nothing_is_loaded():
    html = render_training(make_report(120, "failed", label=HOSTILE, error=HOSTILE))
    page, plain = Page(html), Page(render_training(make_report(120, "failed", error="no luck")))
    assert page.tags == plain.tags
    assert HOSTILE not in html
    assert HOSTILE in text_of(html)
    assert not {"link", "img", "iframe"} & set(page.tags)
    assert not {"src", "style", "onclick", "onload"} & {name for name, _ in page.attributes}
    assert all(value.startswith("#") for name, value in page.attributes if name == "href")
