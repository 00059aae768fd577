"""Propose the settings of a job: the meaning of the corpus's columns, and the tasks of the checkpoint's heads."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.checkpoints import local_checkpoint, pin_checkpoint, read_tokenizer, url_in_errors
from pipelines.corpus import read_some_rows
from pipelines.formatting import excerpt
from pipelines.job import TokenizerSettings
from pipelines.rows import decode_text, is_id, is_text, is_words
from xlm_core.checkpoint import check_checkpoint, inspect_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from xlm_core import XLMTokenizer

_NUM_ROWS = 1_000  # that are looked at, at most

_LANG_NAME = re.compile(r"lang|language|locale|lc", re.IGNORECASE)
_ID_NAME = re.compile(r"(.*[_-])?(id|uuid|key|url)|id[_-].*", re.IGNORECASE)
_TEXT_NAME = re.compile(r"text|body|content|sentence|document|passage", re.IGNORECASE)
_MIN_LANG_SHARE = 0.95  # of the values of a column of language codes with another name
_MAX_LANG_CHARS = 16
_TASKS = {"sequence-classification": "text-classification", "token-classification": "token-classification"}


@dataclass
class Proposal:
    """The settings of a job, as far as they follow from the corpus and the checkpoint.

    Attributes:
        path: the input, as given.
        checkpoint: the checkpoint, as given.
        columns: all columns of the input.
        texts: columns with text: first those with a usual name, and the longest texts first.
        langs: columns with language codes of the checkpoint, the best one first.
        ids: columns that may identify rows, the best one first.
        codes: the most frequent codes of each column in `langs`.
        tasks: task names, of the checkpoint's heads and feature extraction.
        other_heads: heads whose tasks need more than one column.
        num_rows: number of rows that were looked at.
        tokenizer: that of the checkpoint.
    """

    path: str
    checkpoint: str
    columns: list[str]
    texts: list[str]
    langs: list[str]
    ids: list[str]
    codes: dict[str, list[str]]
    tasks: list[str]
    other_heads: list[str]
    num_rows: int
    tokenizer: XLMTokenizer


def propose_job(path: str, checkpoint: str, notify: Callable[[str], None]) -> Proposal:
    """Look at some rows of a corpus and at a checkpoint.

    Args:
        path: the input: a file, directory, glob or table.
        checkpoint: its directory or URL.
        notify: receives a message before a download.

    Raises:
        FatalError: one of them cannot be read.
        RetryableError: a store does not respond.
    """
    rows = read_some_rows(path, _NUM_ROWS)
    folder = local_checkpoint(pin_checkpoint(checkpoint, notify=notify))
    with url_in_errors(checkpoint, folder):
        check_checkpoint(folder, "trunk")
        contents, tokenizer = inspect_checkpoint(folder), read_tokenizer(TokenizerSettings(), folder)
    codes = {name: found for name in rows.column_names if (found := _find_codes(rows[name], name, tokenizer))}
    langs = sorted(codes, key=lambda name: not _LANG_NAME.fullmatch(name))
    lengths = {name: _mean_chars(rows[name]) for name in rows.column_names if name not in codes}
    texts = sorted(
        (name for name, length in lengths.items() if length),
        key=lambda name: (not _TEXT_NAME.fullmatch(name), -lengths[name]),
    )
    ids = [name for name in rows.column_names if name not in texts[:1] and _may_identify(rows[name], name)]
    tasks = [_TASKS[head] for head in contents.heads if head in _TASKS]
    return Proposal(
        path,
        checkpoint,
        rows.column_names,
        texts,
        langs,
        ids,
        codes,
        ["feature-extraction", *tasks],
        [head for head in contents.heads if head not in _TASKS and head != "language-modeling"],
        len(rows),
        tokenizer,
    )


def _find_codes(column: pa.ChunkedArray, name: str, tokenizer: XLMTokenizer) -> list[str]:
    """Return the codes of a column of language codes, the most frequent first; empty for other columns."""
    if not is_text(column.type):
        return []
    counts = Counter(value for value in _strings(column) if value)
    known = [lang for lang, _ in counts.most_common() if len(lang) <= _MAX_LANG_CHARS and tokenizer.resolve_lang(lang)]
    min_share = 0 if _LANG_NAME.fullmatch(name) else _MIN_LANG_SHARE
    return known if sum(counts[lang] for lang in known) >= min_share * counts.total() else []


def _mean_chars(column: pa.ChunkedArray) -> float:
    """Return the mean length of texts, in characters; 0 for columns without text."""
    if is_words(column.type):
        return sum(map(len, column.to_pylist())) / max(1, len(column)) if not column.null_count else 0.0
    lengths = [len(value) for value in _strings(column) if value] if is_text(column.type) else []
    return sum(lengths) / len(lengths) if lengths else 0.0


def _may_identify(column: pa.ChunkedArray, name: str) -> bool:
    if not is_id(column.type) or not _ID_NAME.fullmatch(name) or column.null_count:
        return False
    return len(column) > 0 and len(set(column.to_pylist())) == len(column)


def _strings(column: pa.ChunkedArray) -> list[str | None]:
    return [value for chunk in column.chunks for value in decode_text(chunk)[0]]


def shown(names: list[str], most: int = 5) -> str:
    """List some names in one line."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(excerpt(name, 30) for name in names[:most]) + more
