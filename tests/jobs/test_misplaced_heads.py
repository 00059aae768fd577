"""A head in place of a checkpoint, a head of another task, or no head: one line says what the directory contains."""

import pytest

from jobs.cli import main

WITHOUT_TRUNK = (
    "xlm: {demo}/heads/topic/model.safetensors: contains a sequence-classification head without a trunk; name the "
    "checkpoint that it was trained with, and this directory as the head of a task\n"
)


@pytest.mark.parametrize(
    ("checkpoint", "task", "message"),
    [
        (
            "checkpoint",
            "token-classification: {head: DEMO/heads/topic}",
            "xlm: token-classification: {demo}/heads/topic/model.safetensors: contains a sequence-classification head, "
            "but no token-classification head; set head to a directory with one\n",
        ),
        (
            "checkpoint",
            "text-classification",
            "xlm: text-classification: {demo}/checkpoint/model.safetensors: contains a language-modeling head, but no "
            "sequence-classification head; set head to a directory with one\n",
        ),
        ("heads/topic", "text-classification", WITHOUT_TRUNK),
    ],
)
def test_check_names_the_task_and_the_contents(demo, tmp_path, capsys, monkeypatch, checkpoint, task, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text(
        f"input: {{path: {demo}/corpus, text: text, lang: lang}}\n"
        f"model: {{checkpoint: {demo}/{checkpoint}}}\n"
        f"tasks:\n  - {task.replace('DEMO', str(demo))}\n"
        "output: {path: out}\n",
        encoding="utf-8",
    )
    assert main(["check", "job.yaml"]) == 2
    assert capsys.readouterr().err == message.format(demo=demo)


def test_init_does_not_take_a_head_for_a_checkpoint(demo, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["init", f"{demo}/corpus", "--checkpoint", f"{demo}/heads/topic"]) == 2
    assert capsys.readouterr().err == WITHOUT_TRUNK.format(demo=demo)
