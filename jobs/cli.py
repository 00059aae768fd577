"""The command line: `xlm COMMAND`. What each command does is in `jobs.commands.execute`."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0 complete; 1 unexpected, or Ray or the storage failed; 2 a bad call, job, corpus or
        checkpoint; 3 ended with more failed shards or rejected rows than policy allows; 130 interrupted.
    """
    args = _parser().parse_args(arguments)
    # a scheduler stops jobs with SIGTERM; to us it is Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from jobs.commands import execute  # seconds of imports, in which Ctrl-C shall be no traceback either

        return execute(args)
    except KeyboardInterrupt:
        print("xlm: interrupted; finished shards are kept, run the same command to resume", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xlm", description="Run cross-lingual language models over a whole corpus.")
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")

    def command(name: str, about: str, *, limit: int | None = None, what: str = "") -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about)
        if limit is not None:
            sub.add_argument("--limit", type=int, default=limit, help=f"{what} ({limit})")
        return sub

    def takes_job(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("job", help="the job's YAML file")
        takes_overrides(sub)

    def takes_overrides(sub: argparse.ArgumentParser) -> None:
        about = "override a setting, as batch.max_tokens=8192"
        sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=about)

    run = command("run", "Run a job, or go on with it where it stopped.")
    takes_job(run)
    about = "compute shards again that have rejected rows, for these reasons (killed_worker)"
    run.add_argument(
        "--retry-rejected",
        nargs="?",
        type=_reasons,
        const=["killed_worker"],
        default=[],
        metavar="REASONS",
        help=about,
    )
    takes_job(command("plan", "List the files and shards that a job would read.", limit=20, what="files to list"))
    check = command("check", "Check a job, its corpus and its checkpoint, and show the output's columns.")
    takes_job(check)
    check.add_argument("--resolved", action="store_true", help="also print the job with all defaults")
    show = command("show", "Show results in readable form.", limit=10, what="rows to show")
    show.add_argument("output", help="the job's output directory")
    verify = command("verify", "Prove, without the model, that an output is whole, in order and as it was recorded.")
    verify.add_argument("output", help="the job's output directory")
    diff = command("diff", "Compare two outputs by id: drift of vectors, changed labels and answers, per language.")
    diff.add_argument("first", help="an output directory")
    diff.add_argument("second", help="another, of the same corpus")
    gc = command("gc", "List and remove what no record of an output's ledger accounts for.")
    gc.add_argument("output", help="the job's output directory")
    gc.add_argument("--dry-run", action="store_true", help="list only")
    inspect = command("inspect", "Show what a checkpoint is: model, heads, languages, tokenizer, content hash.")
    inspect.add_argument("checkpoint", help="its directory or URL, or hf://org/name")
    convert = command("convert", "Write a checkpoint of any format as config.json, model.safetensors and tokenizer.")
    convert.add_argument("source", help="its directory or URL, or hf://org/name")
    convert.add_argument("target", help="a directory that is not there yet")
    case = convert.add_mutually_exclusive_group()
    about = "its texts keep their capitals and accents, if the checkpoint does not say so"
    case.add_argument("--cased", dest="lowercase", action="store_false", default=None, help=about)
    about = "its texts lose their capitals and accents, if the checkpoint does not say so"
    case.add_argument("--lowercase", dest="lowercase", action="store_true", default=None, help=about)
    command("schema", "Print the JSON Schema of job files.")
    about = "Write a small corpus, checkpoint and job into a folder, run it and show the results."
    demo = command("demo", about, limit=12, what="rows to show")
    demo.add_argument("folder", nargs="?", default="demo-out", help="where it goes (demo-out)")
    takes_overrides(demo)
    return parser


def _reasons(text: str) -> list[str]:
    return [reason.strip() for reason in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
