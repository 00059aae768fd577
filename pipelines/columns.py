"""The columns of a shard's rows at each step of the way, declared from the job and the corpus, never from data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.job import Job

ROW = "_xlm_row"  # int64: the row's number in its input file, from 0
LANG = "_xlm_lang"  # int32: the model's language id; -1 where it is fed none
INPUT_IDS = "_xlm_input_ids"  # list<int32>: the row's tokens, special ones included
OFFSETS = "_xlm_offsets"  # list<int32>: start and end of each token in the text, in turn
WORD_IDS = "_xlm_word_ids"  # list<int32>: the word of each token, -1 for special ones

_TOKENS = pa.list_(pa.field("item", pa.int32(), nullable=False))


def read_schema(job: Job, corpus: pa.Schema) -> pa.Schema:
    """Declare rows as read: the input columns that the job names, and the row's number."""
    names = [job.input.id, *job.input.keep, *job.input.text_columns, job.input.lang_column]
    wanted = dict.fromkeys(name for name in names if name is not None)
    return pa.schema([*(corpus.field(name) for name in wanted), pa.field(ROW, pa.int64(), nullable=False)])


def token_schema(job: Job, corpus: pa.Schema) -> pa.Schema:
    """Declare rows as tokenized: what the output keeps, the tokens, and the text where a task quotes from it."""
    names = [job.input.id, *job.input.keep]
    quotes = needs_offsets(job)
    if quotes:
        names.append(job.input.text_columns[0])
    fields = [corpus.field(name) for name in dict.fromkeys(name for name in names if name is not None)]
    fields += [pa.field(ROW, pa.int64(), nullable=False), pa.field(LANG, pa.int32(), nullable=False)]
    fields += [
        pa.field(name, _TOKENS, nullable=False) for name in (INPUT_IDS, *((OFFSETS, WORD_IDS) if quotes else ()))
    ]
    return pa.schema(fields)


def result_schema(job: Job, corpus: pa.Schema, results: list[pa.Field]) -> pa.Schema:
    """Declare rows with their results: what the output keeps, what the tasks add, and the row's number."""
    names = [job.input.id, *job.input.keep]
    fields = [corpus.field(name) for name in names if name is not None]
    return pa.schema([*fields, *results, pa.field(ROW, pa.int64(), nullable=False)])


def output_schema(job: Job, corpus: pa.Schema, results: list[pa.Field]) -> pa.Schema:
    """Declare rows as written: what identifies a row, what is passed through, what the tasks add.

    Args:
        job: the job.
        corpus: the input columns and their types.
        results: the fields that the job's tasks add.
    """
    fields = [pa.field("file", pa.string(), nullable=False), pa.field("row", pa.int64(), nullable=False)]
    if job.input.id is not None:
        fields = [corpus.field(job.input.id)]
    return pa.schema([*fields, *(corpus.field(name) for name in job.input.keep), *results])


def needs_offsets(job: Job) -> bool:
    """Whether any task speaks of places in the text."""
    return any(task.kind == "token-classification" for task in job.tasks)


def ragged(column: pa.ListArray) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Give a column of lists as one array of values [T] and the borders of its rows [B + 1], from 0; nothing is copied.

    A shard is often a slice of a block that it shares with others; its lists then begin somewhere within the values.
    """
    borders = column.offsets.to_numpy()
    return column.values.to_numpy()[borders[0] : borders[-1]], (borders - borders[0]).astype(np.int32)


def decode_text(column: pa.Array) -> tuple[list[str | None], dict[int, int]]:
    """Turn a column of strings into Python's, whatever bytes it holds.

    Returns:
        The strings, None for nulls; and for each string that is not UTF-8, its index and the first bad byte's
        position. Such a string is given with its bad bytes escaped.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        texts: list[str | None] = []
        bad: dict[int, int] = {}
        binary = pa.large_binary() if pa.types.is_large_string(column.type) else pa.binary()
        values: list[bytes | None] = column.view(binary).to_pylist()
        for i, value in enumerate(values):
            if value is None:
                texts.append(None)
                continue
            try:
                texts.append(value.decode())
            except UnicodeDecodeError as error:
                bad[i] = error.start
                texts.append(value.decode(errors="backslashreplace"))
        return texts, bad
    return column.to_pylist(), {}
