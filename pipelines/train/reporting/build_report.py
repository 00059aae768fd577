"""Build the report of a training, as JSON values. Nothing is read or written here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.formatting import format_time
from pipelines.train.history import History, merge_objectives, tokens_per_s

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.training_job import TrainingJob


def build_report(
    job: TrainingJob,
    output: str,
    data: Mapping[str, dict[str, Any]],
    record: dict[str, Any],
    state: dict[str, Any],
    versions: Mapping[str, str],
    updated_s: float,
) -> dict[str, Any]:
    """Build the report of a training that runs or has ended.

    Args:
        job: its settings.
        output: its URL.
        data: numbers of rows, see `encode_examples`.
        record: the model and the history, see `messages.put_record`.
        state: how far it is, see `messages.put_progress`: its `status` is running, complete, interrupted or failed,
            with an `error`.
        versions: of the libraries that it depends on.
        updated_s: the time of the report.
    """
    history, model = History(**record["history"]), dict(record["model"])
    described: dict[str, Any] = model.pop("objectives")
    losses = history.recent_losses()
    step = max((int(curve[-1]["step"]) for curve in history.curve.values()), default=0)
    total = merge_objectives(history.curve, 1)
    objectives: list[dict[str, Any]] = []
    for spec in job.objectives:
        title = spec.title
        curve = history.curve.get(title, [])
        evaluations = [_without_name(e) for e in history.evaluations if e["objective"] == title]
        epoch_tokens = described[title]["epoch_tokens"]
        objectives.append(
            {
                "name": title,
                "kind": spec.kind,
                "steps": int(sum(point["steps"] for point in curve)),
                "epochs": sum(point["tokens"] for point in curve) / epoch_tokens if epoch_tokens else None,
                "loss": losses.get(title),
                "dev": _last_kept(evaluations, history, job, state["status"]),
                "data": data[title],
                "dev_data": data.get(f"{title}, dev"),
                "labels": described[title]["labels"],
                "curve": curve,
                "evaluations": evaluations,
            }
        )
    return {
        "name": job.name,
        "status": state["status"],
        "error": state.get("error"),
        "started": format_time(history.started_s),
        "updated": format_time(updated_s),
        "output": output,
        "step": step,
        "steps": state["steps"],
        "tokens": history.tokens,
        "seconds": round(history.seconds, 3),
        "tokens_per_s": round(tokens_per_s(total[0]), 1) if total else None,
        "best_step": history.best_step or None,
        "model": model,
        "objectives": objectives,
        "settings": job.model_dump(mode="json"),
        "versions": dict(versions),
    }


def _without_name(evaluation: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in evaluation.items() if key != "objective"}


def _last_kept(
    evaluations: list[dict[str, Any]], history: History, job: TrainingJob, status: str
) -> dict[str, Any] | None:
    """Return the evaluation of the weights that are written: with patience those of the lowest loss, else the last."""
    if status == "complete" and job.training.patience is not None:
        evaluations = [e for e in evaluations if e["step"] == history.best_step]
    return evaluations[-1] if evaluations else None
