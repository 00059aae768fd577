"""What each command of the command line does. Whatever goes wrong ends as a line for a person, and an exit status."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from jobs.job_file import dump_job, json_schema, load_job
from pipelines.errors import FatalError, RetryableError
from pipelines.formatting import one_line
from pipelines.storage import locate, reason

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection

    from pipelines.job import Job

COMPLETE, UNEXPECTED, UNUSABLE, UNFINISHED, INTERRUPTED = 0, 1, 2, 3, 130

_RESUME = "finished shards are kept, run the same command to resume"


def execute(args: argparse.Namespace) -> int:
    """Run the command that was parsed, and give the exit status."""
    console = Console(soft_wrap=not sys.stdout.isatty())
    resume = f"; {_RESUME}" if args.command in ("run", "demo") else ""
    try:
        return _COMMANDS[args.command](args, console)
    except FatalError as error:
        _complain(*str(error).splitlines())
        return UNUSABLE
    except RetryableError as error:
        _complain(f"{error}{resume}")
    except OSError as error:
        _complain(f"{reason(error)}{resume and f'{resume} once this is fixed'}")
    except Exception as error:
        if os.environ.get("XLM_TRACEBACK"):
            raise
        _complain(
            f"unexpected: {type(error).__name__}: {reason(error)}; this is a bug, please report it with what "
            f"XLM_TRACEBACK=1 prints{resume}"
        )
    return UNEXPECTED


def _complain(*lines: str) -> None:
    console = Console(stderr=True, soft_wrap=True)
    for line in lines:
        console.print(f"[red]xlm:[/] {escape(one_line(line))}", highlight=False)


def _run(args: argparse.Namespace, console: Console) -> int:
    return _run_job(load_job(args.job, args.set), console, args.retry_rejected)


def _run_job(job: Job, console: Console, retry_rejected: Collection[str] = ()) -> int:
    from pipelines.report import summary_lines
    from pipelines.run import run

    report = run(job, console, retry_rejected)
    for line in summary_lines(report):
        console.print(line, highlight=False, markup=False)
    if report["status"] == "interrupted":
        _complain(f"interrupted; {_RESUME}")
        return INTERRUPTED
    return COMPLETE if report["status"] == "complete" else UNFINISHED


def _plan(args: argparse.Namespace, console: Console) -> int:
    from pipelines.corpus import make_plan

    job = load_job(args.job, args.set)
    plan = make_plan(job.input, job.output.rows_per_shard, job.storage)
    table = Table("file", "shards", "rows", "MB", box=None, header_style="bold")
    files: dict[str, list[int]] = {}
    for shard in plan.shards.to_pylist():
        count = files.setdefault(shard["file"], [0, 0, shard["size"]])
        count[0] += 1
        count[1] += shard["num_rows"]
    for file, (shards, rows, size) in list(files.items())[: args.limit]:
        table.add_row(escape(file), f"{shards:,}", f"{rows:,}", f"{size / 1e6:,.1f}")
    console.print(table)
    if len(files) > args.limit:
        console.print(f"… and {len(files) - args.limit:,} more files (--limit)", highlight=False)
    console.print(
        f"{plan.num_rows:,} rows of {len(files):,} files in {len(plan.shards):,} shards", highlight=False, style="bold"
    )
    return COMPLETE


def _check(args: argparse.Namespace, console: Console) -> int:
    from pipelines.formatting import format_count, format_type
    from pipelines.run import prepare_job

    job = load_job(args.job, args.set)
    prepared = prepare_job(job)
    if args.resolved:
        console.print(dump_job(job), highlight=False, markup=False)
    table = Table("column", "type", box=None, header_style="bold")
    for field in prepared.stages.write.schema:
        table.add_row(escape(field.name), escape(format_type(field.type)))
    console.print(table)
    console.print(
        f"the job can run: {format_count(prepared.plan.num_rows, 'row')} in {format_count(len(prepared.plan.shards), 'shard')}",
        highlight=False,
        style="bold",
    )
    return COMPLETE


def _show(args: argparse.Namespace, console: Console) -> int:
    from jobs.commands.show import show

    show(args.output, args.limit, console)
    return COMPLETE


def _verify(args: argparse.Namespace, console: Console) -> int:
    from jobs.commands.verify import verify_output

    return COMPLETE if verify_output(args.output, console) else UNFINISHED


def _diff(args: argparse.Namespace, console: Console) -> int:
    from jobs.commands.diff import diff_outputs

    diff_outputs(args.first, args.second, console)
    return COMPLETE


def _gc(args: argparse.Namespace, console: Console) -> int:
    from jobs.commands.gc import collect

    collect(args.output, console, dry_run=args.dry_run)
    return COMPLETE


def _inspect(args: argparse.Namespace, console: Console) -> int:
    from jobs.commands.checkpoint_folder import checkpoint_folder
    from jobs.commands.inspect import inspect

    with checkpoint_folder(args.checkpoint, console) as folder:
        inspect(folder, console, args.checkpoint)
    return COMPLETE


def _convert(args: argparse.Namespace, console: Console) -> int:
    from jobs.commands.checkpoint_folder import checkpoint_folder
    from jobs.commands.convert import convert

    target = locate(args.target)
    if not target.is_local:
        raise FatalError(
            f"{args.target}: checkpoints are converted into a local directory; name one, and copy it there"
        )
    with checkpoint_folder(args.source, console) as folder:
        written = convert(folder, Path(target.path), args.lowercase)
    for file in written:
        console.print(f"{file}  {decimal(file.stat().st_size)}", highlight=False, markup=False)
    return COMPLETE


def _schema(_: argparse.Namespace, console: Console) -> int:
    console.out(json.dumps(json_schema(), indent=2, ensure_ascii=False), highlight=False)
    return COMPLETE


def _demo(args: argparse.Namespace, console: Console) -> int:
    from jobs.commands.show import show
    from jobs.demo import write_demo

    job = write_demo(Path(args.folder))
    console.print(f"xlm run {job}", style="bold", highlight=False)
    status = _run_job(load_job(job, args.set), console)
    console.print()
    show(str(job.parent / "out"), args.limit, console)
    console.print(
        "\nThe demo's checkpoint has seeded random weights: embeddings and labels show the form of results, "
        "and mean nothing.",
        style="yellow",
        highlight=False,
    )
    return status


_COMMANDS = {
    "run": _run,
    "plan": _plan,
    "check": _check,
    "show": _show,
    "verify": _verify,
    "diff": _diff,
    "gc": _gc,
    "inspect": _inspect,
    "convert": _convert,
    "schema": _schema,
    "demo": _demo,
}
