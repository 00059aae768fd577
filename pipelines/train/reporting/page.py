"""Render the report of a training as an HTML page."""

from __future__ import annotations

from typing import Any

from pipelines.formatting import format_count
from pipelines.report import render_page, to_yaml
from pipelines.train.history import merge_points, tokens_per_s
from pipelines.train.reporting.curves import build_curves

_STATUS_KINDS = {"complete": "good", "running": "wait", "interrupted": "wait"}
_VERDICTS = {"complete": "Trained", "running": "Training", "interrupted": "Interrupted", "failed": "Failed"}
_MAX_ROWS = 20  # of a table with a curve
_MAX_EVALUATIONS = 100  # in a table, the newest ones
_MAX_LABELS = 60
_EXPLANATIONS = {"truncated_answer": "the answer is not in the part of the context that fits tokenizer.max_length"}


def render_training(report: dict[str, Any]) -> str:
    """Render a report, as `build_report` returns it. All data is escaped."""
    curves = build_curves(report)
    numbered = list(enumerate(curves))
    return render_page(
        "training.html.j2",
        {"curves": curves},
        report=report,
        settings=report["settings"],
        status_kind=_STATUS_KINDS.get(report["status"], "bad"),
        verdict=_VERDICTS[report["status"]],
        description=_describe(report),
        next_step=_next_step(report),
        loss_charts={chart["objective"]: i for i, chart in numbered if chart["objective"]},
        accuracy_charts=[(i, chart["title"]) for i, chart in numbered if chart["percent"]],
        other_charts=[(i, chart["title"]) for i, chart in numbered if not chart["objective"] and not chart["percent"]],
        objectives=[_with_tables(objective) for objective in report["objectives"]],
        max_labels=_MAX_LABELS,
        explanations=_EXPLANATIONS,
        settings_yaml=to_yaml(report["settings"]),
    )


def _describe(report: dict[str, Any]) -> str:
    step, steps = report["step"], format_count(report["steps"], "step")
    match report["status"]:
        case "complete" if step < report["steps"]:
            patience = format_count(report["settings"]["training"]["patience"], "evaluation")
            return (
                f"It ended after {step:,} of {steps}, because {patience} had no lower loss on dev; the weights of step "
                f"{report['best_step']:,} are written."
            )
        case "complete" if report["settings"]["training"]["patience"] is not None and report["best_step"]:
            best = f"{report['best_step']:,}"
            return f"All {steps} are done; the weights of step {best}, with the lowest loss on dev, are written."
        case "complete":
            return f"All {steps} are done."
        case "failed":
            return f"It failed after {step:,} of {steps}: {report['error']}"
        case _:
            return f"{step:,} of {steps} are done."


def _next_step(report: dict[str, Any]) -> tuple[str, str]:
    """Return what to do next, and the command that does it."""
    output = report["output"].rstrip("/")
    match report["status"]:
        case "complete":
            is_frozen = report["settings"]["model"]["freeze"]
            heads = f"{output}/heads/{report['objectives'][0]['name']}"
            return "Look at what is written", f"xlm inspect {heads if is_frozen else f'{output}/model'}"
        case "running":
            return "Each saved state renews this page; load it again", ""
        case "failed":
            return (
                "Correct what the error names, and run the same command to resume from the last saved state",
                "xlm train JOB",
            )
        case _:
            return "To resume, run the same command again", "xlm train JOB"


def _with_tables(objective: dict[str, Any]) -> dict[str, Any]:
    """Add what the page shows of an objective in tables."""
    points = merge_points(objective["curve"], _MAX_ROWS)
    evaluations = objective["evaluations"]
    return objective | {
        "points": [point | {"tokens_per_s": tokens_per_s(point)} for point in points],
        "shown_evaluations": evaluations[-_MAX_EVALUATIONS:],
        "best": min(evaluations, key=lambda e: e["loss"], default=None),
    }
