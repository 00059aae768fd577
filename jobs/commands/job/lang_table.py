"""A table of the languages of a job's rows, with the shares of truncated and unknown tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from jobs.console import make_table
from pipelines.formatting import excerpt, format_percent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from pipelines.rows import LangCounts

_MAX_LANG_CHARS = 24


def lang_table(langs: Iterable[LangCounts], *, with_tokens: bool = False) -> Table:
    """Return the table; with the number of tokens of each language if requested."""
    table = make_table("lang", ["rows", *(["tokens"] if with_tokens else []), "tokens per row", "truncated", "unknown"])
    for lang in langs:
        num_tokens = lang.tokens + lang.truncated
        table.add_row(
            Text(excerpt(lang.lang, _MAX_LANG_CHARS)),
            f"{lang.rows:,}",
            *([f"{lang.tokens:,}"] if with_tokens else []),
            f"{lang.tokens / max(lang.rows, 1):,.1f}",
            format_percent(lang.truncated, num_tokens),
            format_percent(lang.unknown, num_tokens),
        )
    return table
