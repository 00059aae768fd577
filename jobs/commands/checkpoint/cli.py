"""Commands on a checkpoint: inspect, convert."""

from __future__ import annotations

from pathlib import Path

import click

from jobs.commands.command import Command
from jobs.console import open_console
from jobs.exit_status import ExitStatus


@click.command(
    "inspect", cls=Command, examples=["xlm inspect checkpoint/", "xlm inspect hf://FacebookAI/xlm-mlm-100-1280"]
)
@click.argument("checkpoint", metavar="CHECKPOINT", type=click.Path())
def inspect_command(checkpoint: str) -> ExitStatus:
    """Show a checkpoint's model, heads, languages, tokenizer and content hash.

    CHECKPOINT is a directory or URL, or hf://org/name.
    """
    from jobs.commands.checkpoint.inspect import inspect, open_checkpoint

    console = open_console()
    with open_checkpoint(checkpoint, console) as folder:
        inspect(folder, console, checkpoint)
    return ExitStatus.COMPLETE


@click.command("convert", cls=Command, examples=["xlm convert released/ checkpoint/ --cased"])
@click.argument("source", metavar="SOURCE", type=click.Path())
@click.argument("target", metavar="TARGET", type=click.Path())
@click.option(
    "--lowercase/--cased",
    default=None,
    help="Whether the tokenizer lower-cases texts and removes accents. For checkpoints that do not record this.",
)
def convert_command(source: str, target: str, lowercase: bool | None) -> ExitStatus:
    """Convert a checkpoint of any supported format.

    SOURCE is a directory or URL, or hf://org/name. TARGET is a directory that does not exist or is empty. It receives
    config.json, model.safetensors and tokenizer files.
    """
    from jobs.commands.checkpoint.convert import convert, print_files
    from jobs.commands.checkpoint.inspect import open_checkpoint
    from pipelines.errors import FatalError
    from pipelines.storage import locate

    console, location = open_console(), locate(target)
    if not location.is_local:
        raise FatalError(f"{target}: not a local directory; name one, and copy the result from there")
    with open_checkpoint(source, console) as folder:
        print_files(convert(folder, Path(location.path), lowercase), console)
    return ExitStatus.COMPLETE
