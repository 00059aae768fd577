"""The command line, `xlm COMMAND`, built with Click, which Ray installs. `jobs.commands` defines the commands."""

from __future__ import annotations

import atexit
import gc
import signal
import sys
from typing import TYPE_CHECKING, Any, cast

import click

from jobs.commands import COMMANDS, log_options
from jobs.exit_status import ExitStatus
from pipelines.errors import RESUME_HINT
from pipelines.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Sequence

_GC_THRESHOLD = 50_000  # new objects, before the garbage collector looks for those that are not used any more


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; by default those of this process.

    Returns:
        The exit status, one of `ExitStatus`.
    """
    _handle_sigterm()
    _collect_less_garbage()
    try:
        group: click.Group = _build_group()
        status = group.main(None if arguments is None else list(arguments), "xlm", standalone_mode=False)
        return cast("int", status)
    except click.ClickException as error:
        from jobs.console import print_error

        print_error(_one_line(error))
        return ExitStatus.INVALID
    except click.Abort:  # Ctrl-C
        print(f"xlm: interrupted; {RESUME_HINT}", file=sys.stderr)
        return ExitStatus.INTERRUPTED


def _handle_sigterm() -> None:
    """Handle SIGTERM, with which schedulers stop jobs, like Ctrl-C. A repeated one does not disturb the clean-up."""
    signals = Signals()

    def on_sigterm(*_: object) -> None:
        if not signals.is_repeated():
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, on_sigterm)


def _collect_less_garbage() -> None:
    """Start and end faster: imports create many objects, and none is garbage. Collecting takes a third of a start."""
    gc.set_threshold(_GC_THRESHOLD, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)  # else all objects are looked at once more


class _Group(click.Group):
    """A group that lists its commands in sections."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with the first line of their help."""
        width = max(len(name) for name in self.commands)
        for section, commands in COMMANDS.items():
            with formatter.section(section):
                lines = [(f"{command.name:{width}}", command.get_short_help_str(100)) for command in commands]
                formatter.write_dl(lines)


def _build_group() -> click.Group:
    def callback(**_: Any) -> ExitStatus:
        ctx = click.get_current_context()
        if ctx.invoked_subcommand is None:
            click.echo(ctx.get_help())
        return ExitStatus.COMPLETE

    group = _Group(
        "xlm",
        help="Run cross-lingual language models over a whole corpus.",
        invoke_without_command=True,
        callback=callback,
        params=[*log_options()],
    )
    for commands in COMMANDS.values():
        for command in commands:
            group.add_command(command)
    return click.version_option(package_name="xlm-batch", prog_name="xlm-batch", message="%(prog)s %(version)s")(group)


def _one_line(error: click.ClickException) -> str:
    """Describe an invalid command line in one line."""
    message = error.format_message().removesuffix(".").replace(". Did you mean", "; did you mean")
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    command = "xlm" if ctx is None else ctx.command_path
    next_step = "" if message.endswith("?") else f"; {command} --help shows the usage"
    return f"{message[:1].lower()}{message[1:]}{next_step}"


if __name__ == "__main__":
    sys.exit(main())
