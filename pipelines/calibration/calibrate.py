"""Fit the temperature of one head of a job, and write it to the head's configuration."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.calibration.gold_scores import compute_gold_scores
from pipelines.calibration.temperature import fit_temperature, is_at_limit, log_loss
from pipelines.checkpoints import local_checkpoint, local_directory, pin_checkpoint
from pipelines.errors import FatalError
from pipelines.evaluation import Gold, build_measure, choose_column, measure_reliability, read_labels
from pipelines.formatting import excerpt
from pipelines.rows import is_words
from pipelines.storage import locate
from pipelines.tasks import MultipleChoice, TextClassification, TokenClassification
from xlm_core.checkpoint import inspect_checkpoint, needed_files, set_score_temperature

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.calibration.scores import ScoresAt
    from pipelines.evaluation import GoldOptions
    from pipelines.job import Job
    from pipelines.run import Prepared


_CALIBRATED = (TextClassification, TokenClassification, MultipleChoice)
_HEADS = ("sequence-classification", "token-classification", "multiple-choice")


class Quality(NamedTuple):
    """How good scores are at some temperature.

    Attributes:
        temperature: the temperature.
        loss: the mean negative log-likelihood of the gold labels.
        ece: the expected calibration error.
        accuracy: the share of decisions that are right.
    """

    temperature: float
    loss: float
    ece: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """The fitted temperature of a head.

    Attributes:
        task: the task.
        head: the URL of the head.
        rows, decisions: number of rows, and of decisions in them, such as words.
        before: at the temperature that the head has.
        after: at the fitted one.
        is_at_limit: whether the loss falls beyond the limits of the temperature.
        missing: number of gold labels without a row, or whose row was rejected.
    """

    task: str
    head: str
    rows: int
    decisions: int
    before: Quality
    after: Quality
    is_at_limit: bool
    missing: int


def calibrate(
    prepared: Prepared,
    options: GoldOptions,
    column: str | None = None,
    notify: Callable[[int], None] = lambda _: None,
) -> Calibration:
    """Fit the temperature of a head on the rows of a job's corpus that have a gold label. Nothing is written.

    Args:
        prepared: the job.
        options: where the gold labels are.
        column: a result column of the task; needed if several tasks can be calibrated.
        notify: receives the number of rows that are done.

    Raises:
        FatalError: no head or several of the job can be calibrated, or the gold labels do not fit.
    """
    job = prepared.job
    number = _choose_task(job, column)
    _check_task(prepared, number)
    assert options.url is not None
    gold = Gold(options.url, options.id_columns or job.input.id_columns, options.where, job.storage)
    task = job.tasks[number]
    labels = build_measure(task, prepared.stages.write.schema)
    rows = read_labels(gold, choose_column(gold, labels, options.column))
    found = compute_gold_scores(prepared, number, rows, notify)
    missing = len(rows.ids) - found.rows
    if missing and not options.allow_missing:
        raise FatalError(
            f"{gold.url}: {missing:,} of {len(rows.ids):,} gold labels have no row in the corpus, or it was rejected; "
            "select gold labels with --filter, or use --allow-missing"
        )
    temperature = fit_temperature(found.scores_at)
    before, after = (_measure(found.scores_at, t) for t in (found.temperature, temperature))
    decisions = len(found.scores_at(temperature).gold)
    head = task.head_url or job.model.checkpoint
    return Calibration(task.kind, head, found.rows, decisions, before, after, is_at_limit(temperature), missing)


def _choose_task(job: Job, column: str | None) -> int:
    numbers = [i for i, task in enumerate(job.tasks) if isinstance(task, _CALIBRATED)]
    if column is not None:
        numbers = [i for i in numbers if column in job.tasks[i].columns]
    if len(numbers) == 1:
        return numbers[0]
    columns = ", ".join(excerpt(task.columns[0]) for task in job.tasks if isinstance(task, _CALIBRATED))
    if not columns:
        kinds = ", ".join(task.kind for task in _CALIBRATED)
        raise FatalError(f"the job has no task whose scores a temperature calibrates; these have: {kinds}")
    if column is not None:
        raise FatalError(f"{excerpt(column)} is not a result column that can be calibrated; name one of {columns}")
    raise FatalError(f"several tasks of the job can be calibrated; name a result column with --column: {columns}")


def _check_task(prepared: Prepared, number: int) -> None:
    job = prepared.job
    task = job.tasks[number]
    if isinstance(task, TextClassification) and task.problem == "regression":
        raise FatalError("a regression has no scores to calibrate")
    if job.input.id is None:
        raise FatalError("gold labels are matched by id: set input.id")
    text = job.input.text_columns[0]
    if isinstance(task, TokenClassification) and not is_words(prepared.plan.schema.field(text).type):
        raise FatalError(
            f"input.text is {excerpt(text)}, whose words may be other ones than the gold words; name a column with "
            "lists of words"
        )


def _measure(scores_at: ScoresAt, temperature: float) -> Quality:
    scored = scores_at(temperature)
    ece = measure_reliability(scored.confidence, scored.is_right).ece
    return Quality(temperature, log_loss(scored), ece, float(scored.is_right.mean()))


def check_target(job: Job, column: str | None, target: str | None) -> None:
    """Check that the temperature of a head can be written, before anything is computed.

    Raises:
        FatalError: the head is at a URL and there is no target, the target exists, or the head shares its
            configuration with others.
    """
    _find_folder(job, column, target)


def write_head(job: Job, column: str | None, temperature: float, target: str | None) -> Path:
    """Write the temperature to the head's config.json, or to that of a copy.

    Args:
        job: the job.
        column: as for `calibrate`.
        temperature: the new temperature.
        target: a new local directory, to which the head is copied; None to change the head itself.

    Returns:
        The directory with the head.
    """
    source, folder = _find_folder(job, column, target)
    if folder != source:
        folder.mkdir(parents=True, exist_ok=True)
        for name in needed_files([path.name for path in source.iterdir()]):
            shutil.copyfile(source / name, folder / name)
    set_score_temperature(folder, temperature)
    return folder


def _find_folder(job: Job, column: str | None, target: str | None) -> tuple[Path, Path]:
    """Return the local directory of the head, and the one whose configuration is written."""
    url = job.tasks[_choose_task(job, column)].head_url or job.model.checkpoint
    local = local_directory(url)
    if local is None and target is None:
        raise FatalError(f"{url}: cannot be changed there; name a local directory for a copy with --output")
    source = local or local_checkpoint(pin_checkpoint(url, job.storage))
    kinds = [kind for kind in inspect_checkpoint(source).heads if kind in _HEADS]
    if len(kinds) > 1:
        raise FatalError(
            f"{url}: contains several heads ({', '.join(kinds)}), which share a config.json; save each head in a "
            "directory of its own"
        )
    if target is None:
        return source, source
    location = locate(target)
    if not location.is_local:
        raise FatalError(f"{target}: --output must be a local directory")
    folder = Path(location.path)
    if folder.exists() and any(folder.iterdir()):
        raise FatalError(f"{folder}: exists; name a new directory with --output")
    return source, folder
