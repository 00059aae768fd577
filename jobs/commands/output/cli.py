"""Commands on the output of a job: status, show, verify, diff, gc."""

from __future__ import annotations

import click

from jobs.commands.command import Command
from jobs.commands.options import json_option, limit_option, output_argument, split_names
from jobs.console import open_console
from jobs.exit_status import ExitStatus


@click.command("status", cls=Command, examples=["xlm status OUT", "xlm status s3://bucket/out --json"])
@output_argument
@json_option
def status_command(output: str, as_json: bool) -> ExitStatus:
    """Show how a job is going, or how it ended.

    Reads the output alone, from any machine: rows done, tokens per second, time left, rejected rows, failed shards, and
    the run that holds the lock. Long runs commit every minute, so the rows done may be a minute old. On an object
    store, the lock of a killed run expires two minutes after it was last renewed.

    The exit status is 0 if the job is complete, 3 if it is not and no run holds the lock, and 5 while a run does.
    """
    from jobs.commands.output.status import print_status

    return print_status(output, open_console(), as_json=as_json)


@click.command(
    "show",
    cls=Command,
    examples=["xlm show OUT", "xlm show s3://bucket/out --limit 3", "xlm show OUT --json | jq -c '.rows[]'"],
)
@output_argument
@limit_option("rows to show", default=10)
@json_option
def show_command(output: str, limit: int, as_json: bool) -> ExitStatus:
    """Show some results in readable form."""
    from jobs.commands.output.show import show

    show(output, limit, open_console(as_json=as_json), as_json=as_json)
    return ExitStatus.COMPLETE


@click.command("verify", cls=Command, examples=["xlm verify OUT"])
@output_argument
@json_option
def verify_command(output: str, as_json: bool) -> ExitStatus:
    """Check that an output is complete, in order and unchanged.

    The model is not needed.
    """
    from jobs.commands.output.verify import verify_output

    is_verified = verify_output(output, open_console(as_json=as_json), as_json=as_json)
    return ExitStatus.COMPLETE if is_verified else ExitStatus.INCOMPLETE


@click.command(
    "diff", cls=Command, examples=["xlm diff OUT_A OUT_B", "xlm diff OUT_A OUT_B --fail-on rows,values=0.01"]
)
@click.argument("first", metavar="OUT_A", type=click.Path())
@click.argument("second", metavar="OUT_B", type=click.Path())
@click.option(
    "--fail-on",
    multiple=True,
    metavar="WHAT[=LIMIT]",
    help="Exit with status 4 if the outputs differ in this, by more than the limit: any, columns, rows=SHARE, "
    "values=SHARE (labels, texts, spans), numbers=DIFFERENCE, vectors=SIMILARITY.",
)
@json_option
def diff_command(first: str, second: str, fail_on: tuple[str, ...], as_json: bool) -> ExitStatus:
    """Compare the rows and results of two outputs, for each language."""
    from jobs.commands.output.diff import diff_outputs

    limits = [name for names in fail_on for name in split_names(names)]
    has_drifted = diff_outputs(first, second, open_console(as_json=as_json), limits, as_json=as_json)
    return ExitStatus.DIFFERENT if has_drifted else ExitStatus.COMPLETE


@click.command("gc", cls=Command, examples=["xlm gc OUT --dry-run", "xlm gc OUT"])
@output_argument
@click.option("--dry-run", is_flag=True, help="Only list the files.")
def gc_command(output: str, dry_run: bool) -> ExitStatus:
    """List and remove files that stopped runs left in an output."""
    from jobs.commands.output.gc import remove_orphans

    remove_orphans(output, open_console(), dry_run=dry_run)
    return ExitStatus.COMPLETE
