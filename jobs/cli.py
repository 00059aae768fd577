"""The command line: `xlm run`, `plan`, `check`, `show`, `schema`, `demo`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs.spec import dump_job, json_schema, load_job
from pipelines.errors import FatalError, RetryableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.job import Job

COMPLETE, UNEXPECTED, UNUSABLE, UNFINISHED, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0 complete; 1 unexpected; 2 a bad call, job, corpus or checkpoint; 3 finished with failed
        shards or too many rejected rows; 130 interrupted.
    """
    args = _parser().parse_args(arguments)
    console = Console(soft_wrap=not sys.stdout.isatty())
    errors = Console(stderr=True, soft_wrap=True)
    # a scheduler stops jobs with SIGTERM; to us it is Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return args.command(args, console)
    except FatalError as error:
        for line in str(error).splitlines():
            errors.print(f"[red]xlm:[/] {escape(line)}", highlight=False)
        return UNUSABLE
    except RetryableError as error:
        errors.print(f"[red]xlm:[/] {escape(str(error))}", highlight=False)
        return UNEXPECTED
    except OSError as error:
        reason = str(error).strip().partition("\n")[0]
        errors.print(
            f"[red]xlm:[/] {escape(reason)}; what is done is kept, once that is mended run the same command to go on",
            highlight=False,
        )
        return UNEXPECTED
    except KeyboardInterrupt:
        errors.print("[red]xlm:[/] interrupted; what is done is kept, run the same command to go on", highlight=False)
        return INTERRUPTED
    except Exception as error:
        if os.environ.get("XLM_TRACEBACK"):
            raise
        errors.print(
            f"[red]xlm:[/] unexpected: {escape(f'{type(error).__name__}: {error}'.splitlines()[0])}; this is a defect, "
            "please report it with what XLM_TRACEBACK=1 prints. What is done is kept",
            highlight=False,
        )
        return UNEXPECTED


def _run(args: argparse.Namespace, console: Console) -> int:
    return _run_job(load_job(args.job, args.set), console)


def _run_job(job: Job, console: Console) -> int:
    from pipelines.flow import run
    from pipelines.report import summary_lines

    report = run(job, console)
    for line in summary_lines(report):
        console.print(line, highlight=False, markup=False)
    return COMPLETE if report["status"] == "complete" else UNFINISHED


def _plan(args: argparse.Namespace, console: Console) -> int:
    from pipelines.plan import make_plan

    plan = make_plan(load_job(args.job, args.set))
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
    from pipelines.prepare import prepare
    from pipelines.wording import type_name

    job = load_job(args.job, args.set)
    prepared = prepare(job)
    if args.resolved:
        console.print(dump_job(job), highlight=False, markup=False)
    table = Table("column", "type", box=None, header_style="bold")
    for field in prepared.output_schema:
        table.add_row(escape(field.name), escape(type_name(field.type)))
    console.print(table)
    console.print(
        f"the job can run: {prepared.plan.num_rows:,} rows in {len(prepared.plan.shards):,} shards",
        highlight=False,
        style="bold",
    )
    return COMPLETE


def _show(args: argparse.Namespace, console: Console) -> int:
    from jobs.show import show

    show(args.output, args.limit, console)
    return COMPLETE


def _schema(_: argparse.Namespace, console: Console) -> int:
    console.out(json.dumps(json_schema(), indent=2, ensure_ascii=False), highlight=False)
    return COMPLETE


def _demo(args: argparse.Namespace, console: Console) -> int:
    from jobs.demo.build import write_demo
    from jobs.show import show

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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xlm", description="Run cross-lingual language models over a whole corpus.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: object, about: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about)
        sub.set_defaults(command=function)
        return sub

    def takes_job(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("job", help="the job's YAML file")
        sub.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="override a setting, as batch.max_tokens=8192",
        )

    takes_job(command("run", _run, "Run a job, or go on with it where it stopped."))
    plan = command("plan", _plan, "List the files and shards that a job would read.")
    takes_job(plan)
    plan.add_argument("--limit", type=int, default=20, help="files to list (20)")
    check = command("check", _check, "Check a job, its corpus and its checkpoint, and show the output's columns.")
    takes_job(check)
    check.add_argument("--resolved", action="store_true", help="also print the job with all defaults")
    show = command("show", _show, "Show results in readable form.")
    show.add_argument("output", help="the job's output directory")
    show.add_argument("--limit", type=int, default=10, help="rows to show (10)")
    command("schema", _schema, "Print the JSON Schema of job files.")
    demo = command(
        "demo", _demo, "Write a small corpus, checkpoint and job into a folder, run it and show the results."
    )
    demo.add_argument("folder", nargs="?", default="demo-out", help="where it goes (demo-out)")
    demo.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=argparse.SUPPRESS)
    demo.add_argument("--limit", type=int, default=12, help="rows to show (12)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
