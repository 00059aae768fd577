"""The columns of a shard's rows after each stage. Schemas follow from the job and the corpus, never from the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.rows.list_columns import INTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROW = "_xlm_row"  # int64: the row's position in the shard, before the filter, from 0
LANG = "_xlm_lang"  # int32: the model's language id; -1 if the model gets none
INPUT_IDS = "_xlm_input_ids"  # list<int32>: the tokens of the row's sequences, special tokens included
LENGTHS = "_xlm_lengths"  # list<int32>: tokens of each sequence; a row has one sequence, or one per window or choice
WINDOW_STARTS = "_xlm_window_starts"  # list<int32>: for each sequence, the position of its first token in the text
OFFSETS = "_xlm_offsets"  # list<int32>: start and end of each token in its text, alternating
WORD_IDS = "_xlm_word_ids"  # list<int32>: the word of each token in its text; -1 for special tokens

# Begins the name of a kept column that gets a new name: the new name may be that of another input column.
RENAMED = "_xlm_renamed_"

# Columns of the output with the language that the identify stage finds for a row, and its score. The stages call them
# `RENAMED` and this name.
DETECTED_LANG, LANG_SCORE = "detected_lang", "lang_score"
DETECTED_COLUMNS = {DETECTED_LANG: pa.string(), LANG_SCORE: pa.float32()}

# Columns that `output.token_counts` adds to the output, and their descriptions.
TOKEN_COUNTS = {
    "num_tokens": "tokens of the row, including special tokens and truncated ones",
    "num_truncated": "tokens that were truncated",
    "num_unknown": "tokens not in the vocabulary, counted before truncation",
}


@dataclass(frozen=True)
class RowColumns:
    """Which columns of the corpus a job uses, and for what.

    Attributes:
        corpus: types of the input columns.
        id: the column that identifies a row; None if file and row number do.
        keep: columns that are copied to the output: the name there, and the input column.
        text: columns with text.
        lang: the column with the language; None if the job fixes one language, or detects languages.
        counts: names in `TOKEN_COUNTS` that the output contains.
        needs_offsets: whether a task needs each token's offsets and the texts.
        detects_lang: whether the job detects languages.
    """

    corpus: pa.Schema
    id: str | None
    keep: Mapping[str, str]
    text: Sequence[str]
    lang: str | None
    counts: Sequence[str]
    needs_offsets: bool
    detects_lang: bool = False


def read_schema(columns: RowColumns) -> pa.Schema:
    """Return the schema of rows after the read stage: the input columns that the job names, and the position."""
    fields = _input_fields(columns, [*columns.text, columns.lang])
    return pa.schema([*fields, pa.field(ROW, pa.int64(), nullable=False)])


def identified_schema(columns: RowColumns) -> pa.Schema:
    """Return the schema of rows after the identify stage: also the languages, null if a row has no usable text."""
    return pa.schema([*read_schema(columns), *_detected_fields(columns, RENAMED, nullable=True)])


def token_schema(columns: RowColumns) -> pa.Schema:
    """Return the schema of rows after the tokenize stage: kept columns, tokens, and texts if tasks need them."""
    fields = _input_fields(columns, columns.text if columns.needs_offsets else ()) + _detected_fields(columns, RENAMED)
    fields += [pa.field(ROW, pa.int64(), nullable=False), pa.field(LANG, pa.int32(), nullable=False)]
    lists = [INPUT_IDS, LENGTHS, WINDOW_STARTS, *((OFFSETS, WORD_IDS) if columns.needs_offsets else ())]
    fields += [pa.field(name, INTS, nullable=False) for name in lists]
    return pa.schema([*fields, *_count_fields(columns)])


def result_schema(columns: RowColumns, results: Sequence[pa.Field]) -> pa.Schema:
    """Return the schema of rows after the infer stage: kept columns, languages, token counts, results, position."""
    fields = _input_fields(columns) + _detected_fields(columns, RENAMED)
    return pa.schema([*fields, *_count_fields(columns), *results, pa.field(ROW, pa.int64(), nullable=False)])


def output_schema(columns: RowColumns, results: Sequence[pa.Field]) -> pa.Schema:
    """Return the schema of a part: the row's id, kept columns, languages, token counts, and the tasks' fields."""
    fields = [pa.field("file", pa.string(), nullable=False), pa.field("row", pa.int64(), nullable=False)]
    if columns.id is not None:
        fields = [columns.corpus.field(columns.id)]
    kept = [columns.corpus.field(column).with_name(name) for name, column in columns.keep.items()]
    return pa.schema([*fields, *kept, *_detected_fields(columns), *_count_fields(columns), *results])


def renamed_columns(columns: RowColumns) -> dict[str, str]:
    """Return the kept columns that get a new name: their names in the schemas of the stages, and the input columns."""
    return {RENAMED + name: column for name, column in columns.keep.items() if name != column}


def _input_fields(columns: RowColumns, names: Iterable[str | None] = ()) -> list[pa.Field]:
    """Return the fields of the id, of kept columns, and of other input columns."""
    same = [name for name, column in columns.keep.items() if name == column]
    fields = [columns.corpus.field(name) for name in dict.fromkeys([columns.id, *same, *names]) if name is not None]
    renamed = renamed_columns(columns).items()
    return [*fields, *(columns.corpus.field(column).with_name(name) for name, column in renamed)]


def _detected_fields(columns: RowColumns, prefix: str = "", *, nullable: bool = False) -> list[pa.Field]:
    names = DETECTED_COLUMNS.items() if columns.detects_lang else ()
    return [pa.field(prefix + name, data_type, nullable) for name, data_type in names]


def _count_fields(columns: RowColumns) -> list[pa.Field]:
    return [
        pa.field(name, pa.int32(), nullable=False, metadata={"counts": TOKEN_COUNTS[name]}) for name in columns.counts
    ]
