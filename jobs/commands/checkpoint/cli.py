"""Commands on a checkpoint: inspect, tokenize, convert."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click
from rich.console import Console

from jobs.commands.command import Command
from jobs.commands.options import json_option
from jobs.console import open_console
from jobs.exit_status import ExitStatus


@click.command(
    "inspect", cls=Command, examples=["xlm inspect checkpoint/", "xlm inspect hf://FacebookAI/xlm-mlm-100-1280"]
)
@click.argument("checkpoint", metavar="CHECKPOINT", type=click.Path())
@json_option
def inspect_command(checkpoint: str, as_json: bool) -> ExitStatus:
    """Show a checkpoint's model, heads, languages, tokenizer and content hash.

    CHECKPOINT is a directory or URL, or hf://org/name.
    """
    from jobs.commands.checkpoint.inspect import inspect
    from jobs.commands.checkpoint.open_checkpoint import open_checkpoint

    console = open_console(as_json=as_json)
    with open_checkpoint(checkpoint, console) as folder:
        inspect(folder, console, checkpoint, as_json=as_json)
    return ExitStatus.COMPLETE


@click.command(
    "tokenize",
    cls=Command,
    examples=[
        'xlm tokenize checkpoint/ --lang th "สวัสดีตอนเช้า"',
        "xlm tokenize checkpoint/ --lang de --json < texts.txt > tokens.jsonl",
    ],
)
@click.argument("checkpoint", metavar="CHECKPOINT", type=click.Path())
@click.argument("texts", metavar="[TEXT]...", nargs=-1)
@click.option("--lang", required=True, help="The language of the texts: any code that a corpus may have.")
@click.option(
    "--max-length",
    type=click.IntRange(min=3),
    help="Where texts are cut off. By default 512 tokens, or what the positions of the checkpoint allow.",
)
@click.option("--zh", type=click.Choice(["jieba", "rjieba"]), default="jieba", show_default=True, help="For Chinese.")
@click.option("--ja", type=click.Choice(["kytea", "fugashi"]), default="kytea", show_default=True, help="For Japanese.")
@click.option("--kytea-model", type=click.Path(), help="KyTea's model file.")
@click.option(
    "--compat",
    type=click.Choice(["default", "reference"]),
    default="default",
    show_default=True,
    help="reference gives exactly the ids of the reference implementation.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per text.")
def tokenize_command(
    checkpoint: str,
    texts: tuple[str, ...],
    lang: str,
    max_length: int | None,
    zh: Literal["jieba", "rjieba"],
    ja: Literal["kytea", "fugashi"],
    kytea_model: str | None,
    compat: Literal["default", "reference"],
    as_json: bool,
) -> ExitStatus:
    """Show the tokens of texts: characters, pieces, ids and words, aligned.

    CHECKPOINT is a directory or URL, or hf://org/name. Without TEXT, each line of standard input is a text.
    """
    from jobs.commands.checkpoint.open_checkpoint import open_checkpoint
    from jobs.commands.checkpoint.tokenize import read_lines, tokenize
    from xlm_core.tokenizer import PackedTokenizer

    if not texts and sys.stdin.isatty():
        raise click.UsageError("no text: pass one in quotes, or pipe lines of text to standard input")
    with open_checkpoint(checkpoint, Console(stderr=True)) as folder:
        tokenizer = PackedTokenizer.from_pretrained(folder, zh=zh, ja=ja, kytea_model=kytea_model, compat=compat)
        lines = texts or read_lines(sys.stdin.buffer)
        tokenize(tokenizer, folder, lines, lang, open_console(), max_length=max_length, as_json=as_json)
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
    from jobs.commands.checkpoint.open_checkpoint import open_checkpoint
    from pipelines.errors import FatalError
    from pipelines.storage import locate

    console, location = open_console(), locate(target)
    if not location.is_local:
        raise FatalError(f"{target}: not a local directory; name one, and copy the result from there")
    with open_checkpoint(source, console) as folder:
        print_files(convert(folder, Path(location.path), lowercase), console)
    return ExitStatus.COMPLETE
