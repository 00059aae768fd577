"""Commands for getting started: demo, spec, doctor, completion."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import get_completion_class

from jobs.commands.command import Command
from jobs.commands.job import run_command
from jobs.commands.options import json_option, limit_option, overrides_option
from jobs.commands.output import show_command
from jobs.console import open_console
from jobs.exit_status import ExitStatus
from jobs.specs import SPECS, read_spec


@click.command("demo", cls=Command, examples=["xlm demo", "xlm demo /tmp/demo --limit 3"])
@click.argument("folder", metavar="[FOLDER]", type=click.Path(), default="demo-out")
@limit_option("rows to show", default=12)
@overrides_option
@click.pass_context
def demo_command(ctx: click.Context, folder: str, limit: int, overrides: tuple[str, ...]) -> ExitStatus:
    """Run a job on a small corpus, and show its results.

    The corpus and the job file are written to FOLDER, by default demo-out. The job finds the language of each text,
    tags its words, and embeds it; then some texts are shown with the nearest texts of other languages.
    """
    from jobs.demo import find_neighbours, write_demo

    console, job = open_console(), write_demo(Path(folder))
    console.print(f"xlm run {job}", style="bold", highlight=False)
    status: ExitStatus = ctx.invoke(run_command, job=str(job), overrides=overrides)
    console.print()
    ctx.invoke(show_command, output=str(job.parent / "out"), limit=limit)
    if status == ExitStatus.COMPLETE:
        console.print("\nnearest texts in other languages", style="bold")
        for text, neighbours in find_neighbours(job.parent / "out").items():
            console.print(text, style="cyan", highlight=False, markup=False)
            for similarity, lang, other in neighbours:
                console.print(f"  {similarity:.2f}  {lang}  {other}", highlight=False, markup=False)
    return status


@click.command("spec", cls=Command, examples=["xlm spec", "xlm spec answer > job.yaml"])
@click.argument("name", metavar="[NAME]", type=click.Choice(SPECS), required=False)
def spec_command(name: str | None) -> ExitStatus:
    """Print a ready job, or list them.

    Each job runs unchanged on the files that xlm demo writes to demo-out. Copy one, and change its paths.
    """
    if name is not None:
        click.echo(read_spec(name), nl=False)
        return ExitStatus.COMPLETE
    for spec in SPECS:
        click.echo(f"{spec:10}{read_spec(spec).partition(chr(10))[0].removeprefix('# ')}")
    return ExitStatus.COMPLETE


@click.command("doctor", cls=Command, examples=["xlm doctor", "xlm doctor job.yaml", "xlm doctor checkpoint/ --json"])
@click.argument("target", metavar="[JOB|CHECKPOINT]", type=click.Path(), required=False)
@json_option
def doctor_command(target: str | None, as_json: bool) -> ExitStatus:
    """Try what works here, and say how to install the rest.

    Tries segmenters, devices, precisions, stores and table formats; also what a job file or a checkpoint needs, if one
    is given. The exit status is 2 if something does not work that every job needs, or the given one.
    """
    from jobs.commands.setup.doctor import run_doctor

    return run_doctor(target, open_console(as_json=as_json), as_json=as_json)


@click.command(
    "completion",
    cls=Command,
    examples=[
        'eval "$(xlm completion bash)"   # in ~/.bashrc',
        'eval "$(xlm completion zsh)"    # in ~/.zshrc',
        "xlm completion fish > ~/.config/fish/completions/xlm.fish",
    ],
)
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> ExitStatus:
    """Print the script that completes `xlm` commands in a shell.

    SHELL is bash, zsh or fish.
    """
    completion, root = get_completion_class(shell), ctx.find_root()
    if completion is None:
        raise click.UsageError(f"click does not support {shell}")
    click.echo(completion(root.command, {}, "xlm", "_XLM_COMPLETE").source())
    return ExitStatus.COMPLETE
