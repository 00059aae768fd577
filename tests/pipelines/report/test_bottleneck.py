"""The line that says what limited the speed of a run."""

import pytest

from pipelines.report.bottleneck import describe_bottleneck


@pytest.mark.parametrize(
    ("busy", "workers", "line"),
    [
        # 4 tokenizers keep 2 models busy for 40 % of the time, so 10 would keep them busy all the time.
        (
            {"tokenize": 1.0, "infer": 0.4},
            {"tokenize": 4, "infer": 2},
            "tokenizer-bound: 6 more CPU workers would help (busy: tokenizers 100.0 %, models 40.0 %)",
        ),
        (
            {"tokenize": 0.9, "infer": 0.85},
            {"tokenize": 8, "infer": 1},
            "tokenizer-bound: 1 more CPU worker would help (busy: tokenizers 90.0 %, models 85.0 %)",
        ),
        (
            {"infer": 0.97, "tokenize": 0.2},
            {"tokenize": 8, "infer": 1},
            "model-bound: faster devices or more of them would help (busy: models 97.0 %, tokenizers 20.0 %)",
        ),
        (
            {"tokenize": 0.3, "infer": 0.1},
            {"tokenize": 2, "infer": 1},
            "neither tokenizers nor models limited the speed, but start-up or storage (busy: tokenizers 30.0 %, models "
            "10.0 %)",
        ),
        ({}, {}, ""),
    ],
)
def test_bottleneck_is_named_with_what_would_help(busy, workers, line):
    assert describe_bottleneck(busy, workers) == line


def test_suggestion_is_bounded_if_the_models_had_nothing_to_do():
    line = describe_bottleneck({"tokenize": 0.9, "infer": 0.0}, {"tokenize": 2, "infer": 1})
    assert line.startswith("tokenizer-bound: 14 more CPU workers")
