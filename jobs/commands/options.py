"""Arguments and options that several commands have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable

job_argument = click.argument("job", metavar="JOB", type=click.Path())
output_argument = click.argument("output", metavar="OUT", type=click.Path())
overrides_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a setting, for example batch.max_tokens=8192. May be given several times.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def limit_option(what: str, default: int) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Return the option `--limit`.

    Args:
        what: what the command lists, in the plural.
        default: how many of them by default.
    """
    return click.option(
        "--limit", type=click.IntRange(min=0), default=default, show_default=True, help=f"Maximum number of {what}."
    )


def split_names(names: str) -> list[str]:
    """Split a comma-separated list."""
    return [name.strip() for name in names.split(",")]
