"""Call the command that the command line names, and turn errors into messages and an exit status.

Commands are imported when they are called, so that each of them starts quickly.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from jobs.console import print_error
from jobs.exit_status import ExitStatus
from jobs.job_file import json_schema, load_job
from jobs.log_file import log_file
from pipelines.errors import RESUME_HINT, FatalError, RetryableError
from pipelines.log import format_traceback, logger
from pipelines.storage import describe_error, locate

if TYPE_CHECKING:
    import argparse


def dispatch(args: argparse.Namespace) -> ExitStatus:
    """Run the command that `args` name. Errors are printed as lines to stderr, and logged with their tracebacks."""
    console = Console(soft_wrap=not sys.stdout.isatty())
    with log_file(Path(args.job).stem if "job" in args else args.command, args.log_file, debug=args.debug):
        try:
            return _COMMANDS[args.command](args, console)
        except Exception as error:
            lines = _explain(error, f"; {RESUME_HINT}" if args.command in ("run", "demo") else "")
            print_error(*lines)
            # The default file is for errors that their message does not explain.
            level = logging.WARNING if isinstance(error, (FatalError, RetryableError)) else logging.ERROR
            logger.log(level, "xlm %s: %s\n%s", args.command, _message(error), format_traceback(error))
            return ExitStatus.INVALID if isinstance(error, FatalError) else ExitStatus.FAILED


def _explain(error: Exception, resume: str) -> list[str]:
    match error:
        case FatalError():
            return str(error).splitlines()
        case RetryableError():
            return [f"{error}{resume}"]
        case OSError():
            return [f"{describe_error(error)}{resume and f'{resume} once this is fixed'}"]
        case _:
            return [
                f"unexpected: {type(error).__name__}: {describe_error(error)}; this is a bug, please report it with "
                f"its traceback, which --debug prints{resume}"
            ]


def _message(error: Exception) -> str:
    """Return the message of an error for the log; messages of other libraries may quote the text of a row."""
    if isinstance(error, (FatalError, RetryableError)):
        return str(error)
    return describe_error(error) if isinstance(error, OSError) else f"unexpected {type(error).__name__}"


def _run(args: argparse.Namespace, console: Console) -> ExitStatus:
    from jobs.commands.reasons import parse_reasons

    retry_rejected = parse_reasons(args.reasons) if args.retry_rejected else []
    job = load_job(args.job, args.set)
    # The imports alone take seconds, and Ray's start half a minute on a busy machine.
    console.print(f"{job.name}: checking the input and the checkpoint", highlight=False, markup=False)
    from jobs.commands.run import run_job

    return run_job(job, console, retry_rejected)


def _plan(args: argparse.Namespace, console: Console) -> ExitStatus:
    from jobs.commands.plan import print_plan

    print_plan(load_job(args.job, args.set), console, args.limit)
    return ExitStatus.COMPLETE


def _check(args: argparse.Namespace, console: Console) -> ExitStatus:
    from jobs.commands.check import check_job

    return check_job(load_job(args.job, args.set), console, show_defaults=args.resolved, quick=args.quick)


def _show(args: argparse.Namespace, console: Console) -> ExitStatus:
    from jobs.commands.show import show

    show(args.output, args.limit, console)
    return ExitStatus.COMPLETE


def _verify(args: argparse.Namespace, console: Console) -> ExitStatus:
    from jobs.commands.verify import verify_output

    return ExitStatus.COMPLETE if verify_output(args.output, console) else ExitStatus.INCOMPLETE


def _diff(args: argparse.Namespace, console: Console) -> ExitStatus:
    from jobs.commands.diff import diff_outputs

    drifted = diff_outputs(args.first, args.second, console, [name for names in args.fail_on for name in names])
    return ExitStatus.DIFFERENT if drifted else ExitStatus.COMPLETE


def _gc(args: argparse.Namespace, console: Console) -> ExitStatus:
    from jobs.commands.gc import remove_orphans

    remove_orphans(args.output, console, dry_run=args.dry_run)
    return ExitStatus.COMPLETE


def _inspect(args: argparse.Namespace, console: Console) -> ExitStatus:
    from jobs.commands.inspect import inspect, open_checkpoint

    with open_checkpoint(args.checkpoint, console) as folder:
        inspect(folder, console, args.checkpoint)
    return ExitStatus.COMPLETE


def _convert(args: argparse.Namespace, console: Console) -> ExitStatus:
    from jobs.commands.convert import convert, print_files
    from jobs.commands.inspect import open_checkpoint

    target = locate(args.target)
    if not target.is_local:
        raise FatalError(f"{args.target}: not a local directory; name one, and copy the result from there")
    with open_checkpoint(args.source, console) as folder:
        print_files(convert(folder, Path(target.path), args.lowercase), console)
    return ExitStatus.COMPLETE


def _schema(_: argparse.Namespace, console: Console) -> ExitStatus:
    console.out(json.dumps(json_schema(), indent=2, ensure_ascii=False), highlight=False)
    return ExitStatus.COMPLETE


def _demo(args: argparse.Namespace, console: Console) -> ExitStatus:
    from jobs.commands.demo import run_demo

    return run_demo(Path(args.folder), args.set, console, args.limit)


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
