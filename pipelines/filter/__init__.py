"""filter."""

from pipelines.filter.parse import parse_filter

__all__ = [
    "parse_filter",
]
