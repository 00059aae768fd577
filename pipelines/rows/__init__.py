"""What the stages pass to each other: shards, their rows and columns, and rejected rows."""

from pipelines.rows.column_types import are_same_type, cast_column, cast_table, has_list_views, is_list, without_views
from pipelines.rows.list_columns import flatten_list_column, to_list_column
from pipelines.rows.rejection import REJECTED, PreRejected, RejectedRow, Rejection, RejectionReason
from pipelines.rows.row_ids import decode_ids, id_texts, is_id
from pipelines.rows.schemas import (
    INPUT_IDS,
    LANG,
    LENGTHS,
    OFFSETS,
    RENAMED,
    ROW,
    TOKEN_COUNTS,
    WINDOW_STARTS,
    WORD_IDS,
    RowColumns,
    output_schema,
    read_schema,
    renamed_columns,
    result_schema,
    token_schema,
)
from pipelines.rows.sequences import read_sequences
from pipelines.rows.shard import Shard, empty_batch
from pipelines.rows.shard_failure import FAILURE_TYPE, FailureKind, ShardFailure
from pipelines.rows.shard_stats import (
    LANG_COUNTS,
    LANG_COUNTS_TYPE,
    NUM_LENGTH_BINS,
    UNKNOWN_LANG,
    LangCounts,
    ShardStats,
    length_bin,
)
from pipelines.rows.sources import Source, locate_rows
from pipelines.rows.text_columns import WordList, decode_text, decode_texts, is_text, is_words, join_words

__all__ = [
    "FAILURE_TYPE",
    "INPUT_IDS",
    "LANG",
    "LANG_COUNTS",
    "LANG_COUNTS_TYPE",
    "LENGTHS",
    "NUM_LENGTH_BINS",
    "OFFSETS",
    "REJECTED",
    "RENAMED",
    "ROW",
    "TOKEN_COUNTS",
    "UNKNOWN_LANG",
    "WINDOW_STARTS",
    "WORD_IDS",
    "FailureKind",
    "LangCounts",
    "PreRejected",
    "RejectedRow",
    "Rejection",
    "RejectionReason",
    "RowColumns",
    "Shard",
    "ShardFailure",
    "ShardStats",
    "Source",
    "WordList",
    "are_same_type",
    "cast_column",
    "cast_table",
    "decode_ids",
    "decode_text",
    "decode_texts",
    "empty_batch",
    "flatten_list_column",
    "has_list_views",
    "id_texts",
    "is_id",
    "is_list",
    "is_text",
    "is_words",
    "join_words",
    "length_bin",
    "locate_rows",
    "output_schema",
    "read_schema",
    "read_sequences",
    "renamed_columns",
    "result_schema",
    "to_list_column",
    "token_schema",
    "without_views",
]
