"""The language of `input.filter`: parse conditions on columns, and check them against a schema."""

from pipelines.filter.matching_rows import matching_rows
from pipelines.filter.parse import parse_filter, split_conjunction

__all__ = [
    "matching_rows",
    "parse_filter",
    "split_conjunction",
]
