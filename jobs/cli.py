"""The command line, `xlm COMMAND`: arguments of all commands. `jobs.commands.dispatch` calls the commands."""

from __future__ import annotations

import argparse
import importlib.metadata
import signal
import sys
from typing import TYPE_CHECKING

from jobs.exit_status import ExitStatus
from pipelines.errors import RESUME_HINT
from pipelines.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; by default those of this process.

    Returns:
        The exit status, one of `ExitStatus`.
    """
    parser = _parser()
    args = parser.parse_args(arguments)
    if args.version:
        print(f"xlm-batch {importlib.metadata.version('xlm-batch')}")
        return ExitStatus.COMPLETE
    if args.command is None:
        parser.print_help()
        return ExitStatus.COMPLETE
    if args.command == "run" and args.reasons is not None and not args.retry_rejected:
        parser.error("--reasons selects what --retry-rejected computes again; add --retry-rejected")
    _handle_sigterm()
    try:
        from jobs.commands import dispatch  # takes seconds; Ctrl-C during the import must not print a traceback

        return dispatch(args)
    except KeyboardInterrupt:
        print(f"xlm: interrupted; {RESUME_HINT}", file=sys.stderr)
        return ExitStatus.INTERRUPTED


def _handle_sigterm() -> None:
    """Handle SIGTERM, with which schedulers stop jobs, like Ctrl-C. A repeated one does not disturb the clean-up."""
    signals = Signals()

    def on_sigterm(*_: object) -> None:
        if not signals.is_repeated():
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, on_sigterm)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xlm", description="Run cross-lingual language models over a whole corpus.")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    _add_log_options(parser, debug=False, path=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add_command(name: str, about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=about)
        # Without defaults, because these would replace what is given before the command.
        _add_log_options(command, debug=argparse.SUPPRESS, path=argparse.SUPPRESS)
        return command

    run = add_command("run", "Run a job, or resume it.")
    _add_job(run)
    run.add_argument("--retry-rejected", action="store_true", help="compute shards with rejected rows again")
    about = "reasons of the rejected rows for --retry-rejected, separated by commas (default: killed_worker)"
    run.add_argument("--reasons", type=_split_names, metavar="A,B", help=about)
    plan = add_command("plan", "List the input files of a job and their shards.")
    _add_job(plan)
    _add_limit(plan, "files to list", default=20)
    about = (
        "Check all that a run checks, without running: job, corpus, checkpoint, output, languages and ids of the rows."
    )
    check = add_command("check", about)
    _add_job(check)
    check.add_argument("--resolved", action="store_true", help="also print the job with all defaults")
    about = "do not read the languages and ids of the rows; for very large corpora"
    check.add_argument("--quick", action="store_true", help=about)
    show = add_command("show", "Show some results in readable form.")
    show.add_argument("output", help="the job's output directory")
    _add_limit(show, "rows to show", default=10)
    verify = add_command("verify", "Check that an output is complete, in order and unchanged. The model is not needed.")
    verify.add_argument("output", help="the job's output directory")
    diff = add_command("diff", "Compare the rows and results of two outputs, for each language.")
    diff.add_argument("first", help="an output directory")
    diff.add_argument("second", help="another output directory, with results of the same corpus")
    about = (
        "exit with status 4 if the outputs differ in this, by more than the limit: any, columns, rows=SHARE, "
        "values=SHARE (labels, texts, spans), numbers=DIFFERENCE, vectors=SIMILARITY"
    )
    diff.add_argument("--fail-on", type=_split_names, action="append", default=[], metavar="WHAT[=LIMIT]", help=about)
    gc = add_command("gc", "List and remove files that stopped runs left in an output.")
    gc.add_argument("output", help="the job's output directory")
    gc.add_argument("--dry-run", action="store_true", help="only list the files")
    inspect = add_command("inspect", "Show a checkpoint's model, heads, languages, tokenizer and content hash.")
    inspect.add_argument("checkpoint", help="its directory or URL, or hf://org/name")
    about = "Convert a checkpoint of any supported format to config.json, model.safetensors and tokenizer files."
    convert = add_command("convert", about)
    convert.add_argument("source", help="the checkpoint's directory or URL, or hf://org/name")
    convert.add_argument("target", help="a directory that does not exist or is empty")
    case = convert.add_mutually_exclusive_group()
    about = "the tokenizer keeps capitals and accents; for checkpoints that do not record this"
    case.add_argument("--cased", dest="lowercase", action="store_false", default=None, help=about)
    about = "the tokenizer lower-cases texts and removes accents; for checkpoints that do not record this"
    case.add_argument("--lowercase", dest="lowercase", action="store_true", default=None, help=about)
    add_command("schema", "Print the JSON Schema of job files.")
    demo = add_command("demo", "Write a small corpus, checkpoint and job to a folder, run the job, show its results.")
    demo.add_argument("folder", nargs="?", default="demo-out", help="the folder (default: demo-out)")
    _add_limit(demo, "rows to show", default=12)
    _add_overrides(demo)
    return parser


def _add_log_options(command: argparse.ArgumentParser, *, debug: object, path: object) -> None:
    about = "print the log, with the full tracebacks of errors, to stderr"
    command.add_argument("--debug", action="store_true", default=debug, help=about)
    about = "append the log to this file (default: a new file in ~/.local/state/xlm-batch, only if there are errors)"
    command.add_argument("--log-file", metavar="PATH", default=path, help=about)


def _add_job(command: argparse.ArgumentParser) -> None:
    command.add_argument("job", help="the job's YAML file")
    _add_overrides(command)


def _add_overrides(command: argparse.ArgumentParser) -> None:
    about = "override a setting, for example batch.max_tokens=8192"
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=about)


def _add_limit(command: argparse.ArgumentParser, what: str, default: int) -> None:
    command.add_argument("--limit", type=int, default=default, help=f"maximum number of {what} (default: {default})")


def _split_names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
