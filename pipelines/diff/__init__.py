"""Compare two outputs by the ids of their rows."""

from pipelines.diff.compare_outputs import ColumnDiff, OutputDiff, compare_outputs

__all__ = ["ColumnDiff", "OutputDiff", "compare_outputs"]
