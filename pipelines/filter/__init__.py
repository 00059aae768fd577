"""The language of `input.filter`: parse conditions on columns, and check them against a schema."""

from pipelines.filter.matching_rows import matching_rows
from pipelines.filter.parse import conditions_on, parse_filter

__all__ = [
    "conditions_on",
    "matching_rows",
    "parse_filter",
]
