"""What is required of a row before it is tokenized: its id, its language and its texts."""

from pipelines.stages.checks.lang_checks import LangChecks
from pipelines.stages.checks.row_checks import InputRow, RowChecks, pre_reject

__all__ = ["InputRow", "LangChecks", "RowChecks", "pre_reject"]
