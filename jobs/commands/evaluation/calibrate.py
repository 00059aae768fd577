"""`xlm calibrate`: fit the temperature of a head, and write it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.text import Text

from jobs.console import make_table, print_json
from pipelines.calibration import calibrate, check_target, write_head
from pipelines.formatting import format_count, one_line
from pipelines.progress_line import ProgressLine
from pipelines.run import prepare_job

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.calibration import Calibration
    from pipelines.evaluation import GoldOptions
    from pipelines.job import Job


def calibrate_head(
    job: Job,
    options: GoldOptions,
    column: str | None,
    console: Console,
    *,
    target: str | None = None,
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Fit the temperature of a head, print how the scores change, and write it.

    Args:
        job: the job.
        options: where the gold labels are.
        column: a result column of the task; needed if the job has several tasks.
        console: where to print.
        target: a new directory for a copy of the head; None to change the head itself.
        dry_run: do not write.
        as_json: print JSON instead of text.

    Raises:
        FatalError: the job cannot run, the gold labels do not fit, or the head cannot be written.
    """
    if not dry_run:
        check_target(job, column, target)
    with console.status("loading the model"):
        prepared = prepare_job(job)
    num_done = 0
    line = ProgressLine(console, lambda: f"{format_count(num_done, 'row')} computed")

    def on_rows(number: int) -> None:
        nonlocal num_done
        num_done = number
        line.update()

    with line.show():
        found = calibrate(prepared, options, column, on_rows)
    folder = None if dry_run else write_head(job, column, found.after.temperature, target)
    if as_json:
        before, after = found.before._asdict(), found.after._asdict()
        print_json(asdict(found) | {"before": before, "after": after, "written": folder and str(folder)})
        return
    _print(found, console)
    written = "not written" if folder is None else f"written to {folder}/config.json"
    console.print(Text(f"score_temperature {found.after.temperature:.4f}, {written}", "bold"), soft_wrap=True)


def _print(found: Calibration, console: Console) -> None:
    decisions = "" if found.decisions == found.rows else f", {found.decisions:,} decisions"
    heading = f"  {found.task}, {format_count(found.rows, 'row')}{decisions}"
    console.print(Text.assemble((one_line(found.head), "bold"), heading), soft_wrap=True)
    if found.missing:
        console.print(Text(f"left out: {format_count(found.missing, 'gold label')} without a row", "yellow"))
    table = make_table("", ["temperature", "loss", "ECE", "right, %"])
    for name, quality in (("before", found.before), ("after", found.after)):
        numbers = (quality.temperature, quality.loss, quality.ece)
        table.add_row(name, *(f"{number:.4f}" for number in numbers), f"{100 * quality.accuracy:.1f}")
    console.print(table)
    if found.is_at_limit:
        note = "the loss is smallest at a limit of the temperature: the head is always right, or no better than chance"
        console.print(Text(note, "yellow"), soft_wrap=True)
