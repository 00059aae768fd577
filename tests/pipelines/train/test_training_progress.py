"""The progress of a training: a line that fits a terminal, structured lines elsewhere, and evaluations once."""

import io
from typing import Any

import pytest
from rich.console import Console

from pipelines.train.history import History
from pipelines.train.progress import TrainingProgress, format_losses
from tests.pipelines.train.reporting.example_training import make_history

LOSSES = {"upos": 2.589, "masked-language-modeling": 7.175, "translation-ranking": 3.828, "topic": 1.25}


@pytest.mark.parametrize("width", [120, 90, 60])
def test_losses_fit_the_width(width):
    text = format_losses(LOSSES, width)
    assert len(text) <= width
    assert all(f" {loss:.3f}" in text for loss in LOSSES.values())
    assert text.startswith("loss upos 2.589, mas")


def test_losses_that_do_not_fit_are_counted():
    assert format_losses(LOSSES, 35) == "loss upos 2.589, masked-… 7.175, +2"
    assert format_losses(LOSSES, 5) == ""


def test_names_are_truncated_only_if_the_line_is_too_short():
    assert "masked-language-modeling 7.175" in format_losses(LOSSES, 100)


def show(*, is_terminal: bool) -> str:
    """Show a training that resumes after step 100, and the evaluations of which one is from before."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=is_terminal, width=100, color_system=None)
    progress = TrainingProgress(console)
    history = make_history(300)
    state: dict[str, Any] = {"status": "running", "steps": 400, "resumed_at": 100, "losses": history.recent_losses()}
    with progress.show():
        for step in (0, 100, 200, 300, 300):
            known = [e for e in history.evaluations if e["step"] <= step]
            progress.update({} if not step else state | {"step": step, "tokens_per_s": 200.0, "evaluations": known})
    return file.getvalue()


def test_evaluations_are_announced_once_and_only_those_of_this_run():
    plain = show(is_terminal=False)
    assert plain.count("msg=evaluated") == 2
    assert "level=info msg=evaluated step=200 objective=upos dev_loss=0.025 dev_accuracy=0.200\n" in plain
    terminal = show(is_terminal=True)
    assert "step 200: upos loss on dev 0.0250, accuracy 20.00%" in terminal
    assert "step 100:" not in terminal
    assert "step 300 of 400 (75%)  200 tokens/s" in terminal
    assert "loss upos 0.014, masked-language-modeling 0.014" in terminal


def test_recent_values_are_those_of_the_last_steps():
    history = make_history(400)
    losses = [4 / (step + 1) for step in range(400)]
    assert history.recent_losses()["upos"] == pytest.approx(sum(losses[360::2]) / 20)
    assert history.recent_tokens_per_s() == pytest.approx(200.0)
    assert History().recent_tokens_per_s() is None


def test_points_of_several_steps_have_their_mean_loss_and_all_their_tokens():
    one, ten = make_history(40), make_history(40, points=10)
    assert [point["step"] for point in ten.curve["upos"]] == [19, 39]
    first = one.curve["upos"][:10]
    point = ten.curve["upos"][0]
    assert point["loss"] == pytest.approx(sum(p["loss"] for p in first) / 10)
    assert (point["steps"], point["tokens"], point["seconds"]) == (10, 1_000, 5.0)
    assert point["learning_rate"] == first[-1]["learning_rate"]
