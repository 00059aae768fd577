"""The columns of a shard's rows at each step of the way, declared from the job and the corpus, never from data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.job.job import Job

ROW = "_xlm_row"  # int64: the row's number in its input file, from 0
LANG = "_xlm_lang"  # int32: the model's language id; -1 where it is fed none
INPUT_IDS = "_xlm_input_ids"  # list<int32>: the tokens of the row's sequences, special ones included
LENGTHS = "_xlm_lengths"  # list<int32>: tokens of each sequence: one for the row, or for each window or choice
WINDOW_STARTS = "_xlm_window_starts"  # list<int32>: for each sequence, its first token's number in the whole text
OFFSETS = "_xlm_offsets"  # list<int32>: start and end of each token in its text, in turn
WORD_IDS = "_xlm_word_ids"  # list<int32>: the word of each token in its text, -1 for special ones

INTS = pa.list_(pa.field("item", pa.int32(), nullable=False))


def read_schema(job: Job, corpus: pa.Schema) -> pa.Schema:
    """Declare rows as read: the input columns that the job names, and the row's number."""
    names = [job.input.id, *job.input.keep, *job.input.text_columns, job.input.lang_column]
    wanted = dict.fromkeys(name for name in names if name is not None)
    return pa.schema([*(corpus.field(name) for name in wanted), pa.field(ROW, pa.int64(), nullable=False)])


def token_schema(job: Job, corpus: pa.Schema) -> pa.Schema:
    """Declare rows as tokenized: what the output keeps, the tokens, and the texts where a task quotes from them."""
    places = any(task.needs_places for task in job.tasks)
    names = [job.input.id, *job.input.keep]
    if places:
        names += job.input.text_columns
    fields = [corpus.field(name) for name in dict.fromkeys(name for name in names if name is not None)]
    fields += [pa.field(ROW, pa.int64(), nullable=False), pa.field(LANG, pa.int32(), nullable=False)]
    lists = [INPUT_IDS, LENGTHS, WINDOW_STARTS, *((OFFSETS, WORD_IDS) if places else ())]
    fields += [pa.field(name, INTS, nullable=False) for name in lists]
    return pa.schema([*fields, *_counts(job)])


def _counts(job: Job) -> list[pa.Field]:
    about = {
        "num_tokens": "tokens of the row, special ones and those cut off included",
        "num_truncated": "tokens that were cut off",
        "num_unknown": "tokens that the vocabulary lacks, before any is cut off",
    }
    return [pa.field(n, pa.int32(), nullable=False, metadata={"counts": about[n]}) for n in job.output.count_columns]


def result_schema(job: Job, corpus: pa.Schema, results: list[pa.Field]) -> pa.Schema:
    """Declare rows with their results: what the output keeps, counts, what the tasks add, and the row's number."""
    names = [job.input.id, *job.input.keep]
    fields = [corpus.field(name) for name in names if name is not None]
    return pa.schema([*fields, *_counts(job), *results, pa.field(ROW, pa.int64(), nullable=False)])


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
    return pa.schema([*fields, *(corpus.field(name) for name in job.input.keep), *_counts(job), *results])


def lists(borders: NDArray[np.integer[Any]], values: NDArray[np.integer[Any]]) -> pa.Array:
    """Make a column of `INTS` from the values of all rows, end to end, and the borders of the rows [N + 1]."""
    return pa.ListArray.from_arrays(pa.array(borders, pa.int32()), pa.array(values, pa.int32()), type=INTS)


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


Words = list[str]
"""A text whose words are parted already."""


def decode_texts(column: pa.Array) -> tuple[list[str | Words | None], dict[int, int]]:
    """Turn a column of texts, or of texts as lists of words, into Python's; see `decode_text`.

    A null word is an empty one: of it no token comes, and the words after it keep their numbers.
    """
    if not is_words(column.type):
        return cast("tuple[list[str | Words | None], dict[int, int]]", decode_text(column))
    borders = column.offsets.to_numpy()
    words, bad_words = decode_text(column.values[borders[0] : borders[-1]])
    borders = (borders - borders[0]).tolist()
    texts: list[str | Words | None] = [
        None if missing else [word or "" for word in words[borders[i] : borders[i + 1]]]
        for i, missing in enumerate(column.is_null().to_pylist())
    ]
    rows = np.searchsorted(borders, list(bad_words), side="right") - 1
    return texts, dict(zip(rows.tolist(), bad_words.values(), strict=True))


def whole(text: str | Words) -> str:
    """Give the text that places are told in: of words, they joined by spaces."""
    return text if isinstance(text, str) else " ".join(text)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds strings, in any of Arrow's layouts."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def is_words(kind: pa.DataType) -> bool:
    """Whether a column of this type holds lists of strings."""
    return (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and is_text(kind.value_type)
