"""Parquet files of the input: how they are opened, what their footers tell, and why one cannot be read."""

from pipelines.corpus.parquet.input_file import (
    Footer,
    list_views,
    open_parquet,
    open_to_stream,
    open_without_arrow_schema,
    read_footer,
    schema_as_read,
)
from pipelines.corpus.parquet.unreadable import UnsupportedInputError, explain_unreadable, unsupported_input

__all__ = [
    "Footer",
    "UnsupportedInputError",
    "explain_unreadable",
    "list_views",
    "open_parquet",
    "open_to_stream",
    "open_without_arrow_schema",
    "read_footer",
    "schema_as_read",
    "unsupported_input",
]
