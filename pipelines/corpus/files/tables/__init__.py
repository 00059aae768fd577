"""Tables of lake formats: which files belong to the current version of a Delta or Iceberg table."""

from pipelines.corpus.files.tables.read_table import read_table
from pipelines.corpus.files.tables.roots import TableRoot, find_table
from pipelines.corpus.files.tables.snapshot import TableSnapshot, check_columns, has_field_ids

__all__ = [
    "TableRoot",
    "TableSnapshot",
    "check_columns",
    "find_table",
    "has_field_ids",
    "read_table",
]
