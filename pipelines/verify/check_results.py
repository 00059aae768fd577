"""Verify the columns that a job adds to a part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.results import ResultFindings, verify_finite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from pipelines.job import InputSettings
    from pipelines.tasks import TaskSettings


def quoted_columns(tasks: Sequence[TaskSettings], text_columns: Sequence[str]) -> list[str]:
    """Return those of the input's text columns that results quote."""
    return list(dict.fromkeys(text_columns[task.quoted_text] for task in tasks if task.quoted_text is not None))


def check_results(
    tasks: Sequence[TaskSettings],
    input_settings: InputSettings,
    rows: pa.Table,
    texts: Mapping[str, Sequence[str]] | None,
) -> ResultFindings:
    """Verify the languages and the results of the tasks that a job wrote for N rows.

    Args:
        tasks: the settings of the tasks.
        input_settings: the input's columns.
        rows: a part, with its columns as declared.
        texts: for each of the `quoted_columns`, the N texts; None if the input cannot be read. Then only the lengths of
            quotations are verified.
    """
    findings, text_columns = ResultFindings(), input_settings.text_columns
    for name in input_settings.detected_columns:
        verify_finite(findings, name, rows[name].combine_chunks())
    for task in tasks:
        quoted = None
        if texts is not None and task.quoted_text is not None:
            quoted = texts[text_columns[task.quoted_text]]
        task.verify(rows, quoted, findings)
    return findings
