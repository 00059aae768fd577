# ruff: noqa: E501 - a message is on one line
"""Settings of a training that exclude each other are reported in one line, with what to write."""

import pytest

from jobs.job_file import load_training_job
from pipelines.errors import FatalError

TRAINING = """\
model: {checkpoint: ckpt}
objectives:
  - text-classification: {input: {path: data/, text: body, lang: lang}}
training: {steps: 5}
output: {path: out}
"""
MASKED = "- masked-language-modeling: {input: {path: data/, text: body, lang: lang}}"
CAUSAL = MASKED.replace("masked", "causal")
NEW = "{config: {emb_dim: 8}, tokenizer: words}"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("{checkpoint: ckpt}", "{}", "model: needs a checkpoint to train further, or config and tokenizer of a new model"),
        ("checkpoint: ckpt", "config: {emb_dim: 8}", "tokenizer: is for a new model with config; a checkpoint has its own"),
        ("ckpt}", "ckpt, init: local}", "model.init: is for a new model with config; remove it"),
        ("{checkpoint: ckpt}", f"{NEW[:-1]}, freeze: true}}", "model.freeze: only the trunk of a checkpoint can be frozen"),
        ("training: {", f"  {MASKED}\n  {MASKED}\ntraining: {{", "two objectives have the name masked-language-modeling"),
        ("training: {", f"  {CAUSAL}\ntraining: {{", "a causal model cannot be trained for other objectives as well"),
        ("ckpt}", "ckpt, freeze: true}", None),
        ("steps: 5", "steps: 5, epochs: 2", "training: needs either steps or epochs"),
        ("training: {steps", f"  {MASKED}\ntraining: {{epochs", "several objectives have epochs of different lengths; set steps"),
        ("output:", "tokenizer: {on_overflow: window}\noutput:", "a training does not split rows; set truncate or reject"),
        ("steps: 5", "steps: 5, patience: 2", "training.patience: no objective has rows in dev to evaluate; set dev"),
    ],
)  # fmt: skip
def test_combination(tmp_path, old, new, expected):
    file = tmp_path / "job.yaml"
    file.write_text(TRAINING.replace(old, new), encoding="utf-8")
    if expected is None:
        assert load_training_job(file).model.freeze
        return
    with pytest.raises(FatalError) as refused:
        load_training_job(file)
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("bpe_dropout: 0.1", "bpe_dropout: a frozen trunk runs once on each row; remove it, or model.freeze"),
        ("tokens_per_step: 0", "tokens_per_step: got 0, expected at least 1"),
    ],
)
def test_setting_of_an_objective(tmp_path, setting, expected):
    file = tmp_path / "job.yaml"
    frozen = TRAINING.replace("ckpt}", "ckpt, freeze: true}")
    file.write_text(frozen.replace("lang: lang}}", f"lang: lang}}, {setting}}}"), encoding="utf-8")
    with pytest.raises(FatalError) as refused:
        load_training_job(file)
    assert f"objectives.0.text-classification.{expected}" in str(refused.value)
