"""Compare two outputs by the ids of their rows."""

from pipelines.diff.compare_outputs import ColumnDiff, OutputDiff, compare_outputs
from pipelines.diff.counts import Tally
from pipelines.diff.drift import DriftLimit, parse_drift_limits

__all__ = [
    "ColumnDiff",
    "DriftLimit",
    "OutputDiff",
    "Tally",
    "compare_outputs",
    "parse_drift_limits",
]
