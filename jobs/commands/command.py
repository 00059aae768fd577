"""The class of all commands: examples in `--help`, options of the log, and errors as messages and an exit status."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence


def log_options() -> list[click.Option]:
    """Return the options of the log, which may be given before and after the command.

    Their values are in `ctx.meta`, which a group and its commands share. They are not passed to a command's function.
    """

    def remember(ctx: click.Context, option: click.Parameter, value: object) -> None:
        if value:
            ctx.meta[f"jobs.{option.name}"] = value

    return [
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            callback=remember,
            help="Print the log, with the full tracebacks of errors, to stderr.",
        ),
        click.Option(
            ["--log-file"],
            metavar="PATH",
            type=click.Path(),
            expose_value=False,
            callback=remember,
            help="Append the log to this file. By default, a new file in ~/.local/state/xlm-batch, only if there are "
            "errors.",
        ),
    ]


class Command(click.Command):
    """A command of `xlm`. Its function returns an `ExitStatus`; errors become messages and an exit status, too.

    Args:
        examples: command lines that `--help` shows.
    """

    def __init__(self, *args: Any, examples: Sequence[str], **options: Any):
        super().__init__(*args, **options)
        self.params += log_options()
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"  {example}\n")

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command with its log."""
        from jobs.commands.errors import run_with_log  # takes seconds, which `--help` need not wait for

        log_name = Path(ctx.params["job"]).stem if ctx.params.get("job") else self.name or ""
        return run_with_log(
            partial(super().invoke, ctx),
            self.name or "",
            log_name=log_name,
            path=ctx.meta.get("jobs.log_file"),
            debug=ctx.meta.get("jobs.debug", False),
        )
