"""Compare two outputs by the ids of their rows."""

from pipelines.diff.compare_outputs import ColumnDiff, OutputDiff, compare_outputs
from pipelines.diff.loaded_output import LoadedOutput

__all__ = [
    "ColumnDiff",
    "LoadedOutput",
    "OutputDiff",
    "compare_outputs",
]
