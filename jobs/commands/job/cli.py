"""Commands on a job file: init, try, check, plan, run, train, schema."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from jobs.commands.command import Command
from jobs.commands.options import job_argument, json_option, limit_option, overrides_option, split_names
from jobs.console import open_console
from jobs.exit_status import ExitStatus


@click.command(
    "init",
    cls=Command,
    examples=[
        "xlm init data.parquet --checkpoint checkpoint/",
        "xlm init s3://corpus/news/ --checkpoint hf://FacebookAI/xlm-mlm-100-1280 --text body --lang fixed:de",
    ],
)
@click.argument("path", metavar="DATA", type=click.Path())
@click.option("--checkpoint", metavar="URL", type=click.Path(), help="The checkpoint's directory or URL.")
@click.option(
    "--text",
    metavar="COLUMN",
    help="The column with the text. Default: the one with the longest texts, or named text, body …",
)
@click.option(
    "--lang",
    metavar="COLUMN|fixed:CODE|detect",
    help="The column with the language. Default: one that contains codes.",
)
@click.option("--id", "row_id", metavar="COLUMN", help="The column with unique ids. Default: one that looks like it.")
@click.option("--output", metavar="OUT", type=click.Path(), help="The directory of the output. Default: DATA-out.")
@click.option("--file", type=click.Path(), default="job.yaml", show_default=True, help="The job file to write.")
@click.option("--force", is_flag=True, help="Replace the job file if it exists.")
def init_command(
    path: str,
    checkpoint: str | None,
    text: str | None,
    lang: str | None,
    row_id: str | None,
    output: str | None,
    file: str,
    force: bool,
) -> ExitStatus:
    """Write a commented job file for a corpus and a checkpoint.

    DATA is a Parquet file, directory, glob or table. Some of its rows are read to find the columns with texts,
    languages and ids. On a terminal, asks for what no option says.
    """
    ask = sys.stdin.isatty() and sys.stdout.isatty()
    if checkpoint is None and not ask:
        raise click.UsageError("--checkpoint is missing: the directory or URL of the checkpoint")
    checkpoint = checkpoint or click.prompt("Checkpoint", default="hf://FacebookAI/xlm-mlm-100-1280")
    from jobs.commands.job.init import Choices, init_job

    choices = Choices(str(checkpoint), text, lang, row_id, output)
    init_job(path, choices, Path(file), open_console(), ask=ask, force=force)
    return ExitStatus.COMPLETE


@click.command(
    "run", cls=Command, examples=["xlm run job.yaml", "xlm run job.yaml --set output.path=/tmp/out --log-file run.log"]
)
@job_argument
@overrides_option
@click.option("--retry-rejected", is_flag=True, help="Compute shards with rejected rows again.")
@click.option(
    "--reasons",
    metavar="A,B",
    help="The reasons of the rejected rows for --retry-rejected, separated by commas. Default: killed_worker.",
)
def run_command(job: str, overrides: tuple[str, ...], retry_rejected: bool, reasons: str | None) -> ExitStatus:
    """Run a job, or resume it."""
    if reasons is not None and not retry_rejected:
        raise click.UsageError("--reasons selects what --retry-rejected computes again; add --retry-rejected")
    from jobs.commands.job.reasons import parse_reasons

    retried = parse_reasons(None if reasons is None else split_names(reasons)) if retry_rejected else []
    from jobs.job_file import load_job
    from pipelines.log import announce

    loaded, console = load_job(job, overrides), open_console()
    # The imports alone take seconds, and Ray's start half a minute on a busy machine.
    announce(console, f"{loaded.name}: checking the input and the checkpoint")
    from jobs.commands.job.run import run_job

    return run_job(loaded, console, retried)


@click.command("check", cls=Command, examples=["xlm check job.yaml", "xlm check job.yaml --resolved --quick"])
@job_argument
@overrides_option
@click.option("--resolved", is_flag=True, help="Also print the job with all defaults.")
@click.option("--quick", is_flag=True, help="Do not read the languages and ids of the rows. For very large corpora.")
@json_option
def check_command(job: str, overrides: tuple[str, ...], resolved: bool, quick: bool, as_json: bool) -> ExitStatus:
    """Check all that a run checks, without running.

    Checks the job, corpus, checkpoint and output, and the languages and ids of the rows.
    """
    from jobs.commands.job.check import check_job
    from jobs.job_file import load_job

    console = open_console(as_json=as_json)
    return check_job(load_job(job, overrides), console, show_defaults=resolved, quick=quick, as_json=as_json)


@click.command(
    "try", cls=Command, examples=["xlm try job.yaml", "xlm try job.yaml --rows 5 --set input.filter=\"lang == 'de'\""]
)
@job_argument
@overrides_option
@click.option("--rows", type=click.IntRange(min=1), default=20, show_default=True, help="Maximum number of rows.")
def try_command(job: str, overrides: tuple[str, ...], rows: int) -> ExitStatus:
    """Compute a few rows, without Ray and without writing.

    The rows are the first ones of every language, from shards that are spread over the corpus. Prints their results,
    and their languages with the shares of truncated and unknown tokens.
    """
    from jobs.commands.job.try_rows import try_rows
    from jobs.job_file import load_job

    try_rows(load_job(job, overrides), rows, open_console())
    return ExitStatus.COMPLETE


@click.command(
    "plan",
    cls=Command,
    examples=[
        "xlm plan job.yaml",
        "xlm plan job.yaml --cpus 64 --gpus 8 --tflops 50",
        "xlm plan job.yaml --quick --limit 100",
    ],
)
@job_argument
@overrides_option
@limit_option("files to list", default=20)
@click.option("--quick", is_flag=True, help="Do not compute a sample, and estimate nothing.")
@click.option("--cpus", type=click.IntRange(1), help="CPUs of the cluster; by default those of this machine.")
@click.option("--gpus", type=click.IntRange(0), help="GPUs of the cluster; by default those of this machine.")
@click.option(
    "--tflops",
    type=click.FloatRange(0, min_open=True),
    help="Speed of the model on a GPU, in 10^12 operations per second. Required if this machine has no GPU to measure.",
)
@json_option
def plan_command(
    job: str,
    overrides: tuple[str, ...],
    limit: int,
    quick: bool,
    cpus: int | None,
    gpus: int | None,
    tflops: float | None,
    as_json: bool,
) -> ExitStatus:
    """List the input files of a job and their shards, and estimate how long the job takes.

    The estimate is from some thousand rows that are spread over the corpus: their tokens by language, and the speeds of
    the tokenizer and of the model on them.
    """
    from jobs.commands.job.plan import Cluster, print_plan
    from jobs.job_file import load_job

    cluster = None if quick else Cluster(cpus, gpus, tflops)
    print_plan(load_job(job, overrides), open_console(as_json=as_json), limit, cluster, as_json=as_json)
    return ExitStatus.COMPLETE


@click.command("train", cls=Command, examples=["xlm train job.yaml", "xlm train job.yaml --set training.steps=500"])
@job_argument
@overrides_option
def train_command(job: str, overrides: tuple[str, ...]) -> ExitStatus:
    """Train a model or heads, or resume a training."""
    from jobs.job_file import load_training_job
    from pipelines.log import announce

    loaded, console = load_training_job(job, overrides), open_console()
    announce(console, f"{loaded.name}: checking the input and the checkpoint")
    from jobs.commands.job.train import train_job

    return train_job(loaded, console)


@click.command("schema", cls=Command, examples=["xlm schema > job.schema.json", "xlm schema --training"])
@click.option("--training", is_flag=True, help="Print the schema of the jobs of xlm train.")
def schema_command(training: bool) -> ExitStatus:
    """Print the JSON Schema of job files, for editors."""
    from jobs.job_file import RUN, TRAIN, json_schema

    schema = json_schema(TRAIN if training else RUN)
    open_console().out(json.dumps(schema, indent=2, ensure_ascii=False), highlight=False)
    return ExitStatus.COMPLETE
