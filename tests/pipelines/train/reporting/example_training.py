"""An example of a training's report, and the history that it is built from."""

from dataclasses import asdict
from typing import Any

from pipelines.train.history import History
from pipelines.train.reporting.build_report import build_report
from pipelines.training_job import TrainingJob
from xlm_core.training import Evaluation, StepResult

NAMES = ("upos", "masked-language-modeling")


def make_job(text: str = "text", **training: Any) -> TrainingJob:
    source = {"path": "corpus", "text": text, "lang": "lang"}
    return TrainingJob.model_validate(
        {
            "name": "tags",
            "model": {"checkpoint": "checkpoint"},
            "objectives": [
                {"token-classification": {"name": "upos", "input": source, "label": "upos", "dev": {"path": "dev"}}},
                {"masked-language-modeling": {"input": source}},
            ],
            "training": {"steps": 400, **training},
            "output": {"path": "out"},
        }
    )


def make_history(num_steps: int, points: int = 1) -> History:
    history = History(started_s=1_764_460_000.0)
    for step in range(num_steps):
        result = StepResult(step, NAMES[step % 2], 4 / (step + 1), 100, 1.0 + step, 1e-3 / (step + 1))
        history.add(result, points, 0.5)
        if (step + 1) % 100 == 0:
            history.add_evaluation(step + 1, "upos", Evaluation(5 / (step + 1), (step + 1) / 1000))
            history.best_loss, history.best_step = 5 / (step + 1), step + 1
    return history


def make_report(num_steps: int = 400, status: str = "complete", label: str = "NOUN", **more: Any) -> dict[str, Any]:
    objectives = {
        "upos": {"labels": [label, "VERB"], "epoch_tokens": 10_000},
        "masked-language-modeling": {"labels": [], "epoch_tokens": 40_000},
    }
    model = {
        "parameters": {"trunk": 900, "upos": 100},
        "num_parameters": 1_000,
        "num_trained": 100,
        "device": "CPU",
        "objectives": objectives,
    }
    data = {
        "upos": {"rows": 1_000, "examples": 990, "reasons": {"unknown_lang": 8, "empty_text": 2}},
        "upos, dev": {"rows": 100, "examples": 100, "reasons": {}},
        "masked-language-modeling": {"rows": 5_000, "examples": 5_000, "reasons": {}},
    }
    record = {"model": model, "history": asdict(make_history(num_steps))}
    state = {"status": status, "steps": 400, **more}
    return build_report(make_job(), "/out", data, record, state, {"torch": "2.11"}, 1_764_463_600.0)
