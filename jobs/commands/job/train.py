"""`xlm train`: train a model or heads, or resume a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from jobs.console import print_error
from jobs.exit_status import ExitStatus
from pipelines.formatting import format_count, format_duration
from pipelines.log import announce
from pipelines.train import train, train_vocabulary
from pipelines.training_job import VocabularyJob

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.training_job import TrainingJob


def train_job(job: TrainingJob | VocabularyJob, console: Console) -> ExitStatus:
    """Run a training, and print its losses; or learn a vocabulary."""
    if isinstance(job, VocabularyJob):
        learned = train_vocabulary(job, console)
        langs = format_count(len(learned["langs"]), "language")
        console.print(f"{learned['tokens']:,} tokens, {learned['merges']:,} merges, {langs}", highlight=False)
        console.print(f"tokenizer: {job.output.path}/tokenizer", highlight=False, soft_wrap=True)
        return ExitStatus.COMPLETE
    report = train(job, console)
    if report["status"] == "interrupted":
        print_error("interrupted; the state of the training is kept, run the same command to resume")
        return ExitStatus.INTERRUPTED
    if not console.is_terminal:
        announce(console, "ended", **{name: report[name] for name in ("status", "step", "tokens", "seconds")})
    print_report(report, job.output.path, console)
    return ExitStatus.COMPLETE


def print_report(report: dict[str, Any], output: str, console: Console) -> None:
    """Print what a training did, and the losses of its objectives at its end."""
    speed = f" ({report['tokens_per_s']:,.0f} tokens/s)" if report["tokens_per_s"] is not None else ""
    console.print(
        f"{format_count(report['step'], 'step')}, {format_count(report['tokens'], 'token')} in "
        f"{format_duration(report['seconds'])}{speed}",
        highlight=False,
    )
    table = Table(box=None)
    for name in ("objective", "loss", "loss on dev", "accuracy on dev"):
        table.add_column(name, justify="left" if name == "objective" else "right")
    for objective in report["objectives"]:
        dev = objective["dev"] or {}
        losses = (_format(objective["loss"], ".4f"), _format(dev.get("loss"), ".4f"))
        table.add_row(objective["name"], *losses, _format(dev.get("accuracy"), ".2%"))
    console.print(table)
    console.print(
        f"model and heads in {output}; report in {output.rstrip('/')}/_xlm/report.html", highlight=False, soft_wrap=True
    )


def _format(value: float | None, spec: str) -> str:
    return "" if value is None else format(value, spec)
