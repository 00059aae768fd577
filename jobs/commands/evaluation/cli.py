"""Commands that use gold labels: eval, calibrate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobs.commands.command import Command
from jobs.commands.options import job_argument, json_option, output_argument, overrides_option, split_names
from jobs.console import open_console
from jobs.exit_status import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Callable

_GOLD_OPTIONS = [
    click.option(
        "--gold-column",
        metavar="COLUMN",
        help="The column with the gold labels. By default one named label, labels, upos, answers …, or the only other.",
    ),
    click.option(
        "--id", "row_id", metavar="COLUMN", help="The column with the ids of the gold labels. By default as in the job."
    ),
    click.option(
        "--filter",
        "where",
        metavar="CONDITION",
        help="Use only the gold labels that meet this condition, which is written as input.filter.",
    ),
    click.option(
        "--allow-missing",
        is_flag=True,
        help="Use the rows that have gold labels, although others are missing on one side. xlm eval also counts gold "
        "labels that the head does not have as wrong.",
    ),
]


def gold_options(function: Callable[..., ExitStatus]) -> Callable[..., ExitStatus]:
    """Add the options that say how gold labels are read."""
    for option in reversed(_GOLD_OPTIONS):
        function = option(function)
    return function


@click.command(
    "eval",
    cls=Command,
    examples=[
        "xlm eval OUT --gold gold.parquet",
        "xlm eval OUT --gold s3://bucket/ud/ --gold-column upos --filter \"split == 'test'\"",
        "xlm eval OUT --gold OUT_OF_TRANSLATIONS",
        "xlm eval OUT --gold gold.parquet --compare OUT_B --html evaluation.html",
        "xlm eval OUT --gold gold.parquet --json | jq '.all.metrics'",
    ],
)
@output_argument
@click.option(
    "--gold", metavar="URL", type=click.Path(), help="Parquet files with gold labels: a file, directory or glob."
)
@click.option("--column", metavar="COLUMN", help="A result column of the task to evaluate, if there are several tasks.")
@gold_options
@click.option(
    "--lang",
    metavar="COLUMN",
    help="The column of the gold labels with the language of a row. By default, languages are those of OUT.",
)
@click.option(
    "--compare", "other", metavar="OUT_B", type=click.Path(), help="Compare with a second output, by paired tests."
)
@click.option(
    "--compare-gold", metavar="URL", type=click.Path(), help="The gold labels of OUT_B. By default those of --gold."
)
@click.option("--html", "page", metavar="FILE", type=click.Path(), help="Also write the evaluation as an HTML page.")
@json_option
def eval_command(
    output: str,
    gold: str | None,
    column: str | None,
    gold_column: str | None,
    row_id: str | None,
    lang: str | None,
    where: str | None,
    allow_missing: bool,
    other: str | None,
    compare_gold: str | None,
    page: str | None,
    as_json: bool,
) -> ExitStatus:
    """Compare the results of an output with gold labels, by id, for each language.

    Labels: accuracy and F1; words: also F1 of entities; answers: exact match and F1 by the rules of SQuAD and MLQA;
    choices: accuracy; embeddings: how often the nearest one is that of the translation, which is the row with the same
    id of another output, or shares a key; lm-scoring: perplexity, without gold labels. All with 95 % confidence
    intervals, and how far scores are from probabilities.
    """
    from jobs.commands.evaluation.evaluate import evaluate_output
    from pipelines.evaluation import GoldOptions

    if compare_gold is not None and other is None:
        raise click.UsageError("--compare-gold needs --compare")
    ids = split_names(row_id) if row_id else []
    options = GoldOptions(gold, gold_column, ids, lang, where, allow_missing)
    console = open_console(as_json=as_json)
    evaluate_output(output, options, column, console, other=other, other_gold=compare_gold, page=page, as_json=as_json)
    return ExitStatus.COMPLETE


@click.command(
    "calibrate",
    cls=Command,
    examples=[
        "xlm calibrate job.yaml --gold dev.parquet",
        "xlm calibrate job.yaml --gold ud.parquet --gold-column upos --filter \"split == 'dev'\"",
        "xlm calibrate job.yaml --gold dev.parquet --output calibrated-head",
    ],
)
@job_argument
@overrides_option
@click.option(
    "--gold",
    metavar="URL",
    type=click.Path(),
    required=True,
    help="Parquet files with gold labels of rows of the job's corpus: a file, directory or glob.",
)
@click.option(
    "--column", metavar="COLUMN", help="A result column of the task to calibrate, if the job has several tasks."
)
@gold_options
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(),
    help="Write a copy of the head to this new directory, and leave the head itself unchanged.",
)
@click.option("--dry-run", is_flag=True, help="Only print the temperature.")
@json_option
def calibrate_command(
    job: str,
    overrides: tuple[str, ...],
    gold: str,
    column: str | None,
    gold_column: str | None,
    row_id: str | None,
    where: str | None,
    allow_missing: bool,
    output: str | None,
    dry_run: bool,
    as_json: bool,
) -> ExitStatus:
    """Fit the temperature of a head, so that its scores are probabilities.

    Computes the rows of the corpus that have a gold label, in this process, and finds the number by which logits are
    divided before the softmax such that the gold labels are most likely. It is written to the head's config.json as
    score_temperature. For text-classification, token-classification and multiple-choice. Labels stay the same; scores
    that are averages over subwords or windows may exceptionally give another label.
    """
    from jobs.commands.evaluation.calibrate import calibrate_head
    from jobs.job_file import load_job
    from pipelines.evaluation import GoldOptions

    ids = split_names(row_id) if row_id else []
    options = GoldOptions(gold, gold_column, ids, where=where, allow_missing=allow_missing)
    console = open_console(as_json=as_json)
    calibrate_head(load_job(job, overrides), options, column, console, target=output, dry_run=dry_run, as_json=as_json)
    return ExitStatus.COMPLETE
