"""The language of `input.filter`: parse conditions on columns, and check them against a schema."""

from pipelines.filter.parse import parse_filter, split_conjunction

__all__ = [
    "parse_filter",
    "split_conjunction",
]
