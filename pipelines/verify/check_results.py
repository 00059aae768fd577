"""Verify the columns that the tasks of a job wrote to a part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.results.verification import ResultFindings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from pipelines.job.job import Job


def quoted_columns(job: Job) -> list[str]:
    """Return the input columns that results quote."""
    texts = job.input.text_columns
    return list(dict.fromkeys(texts[task.quoted_text] for task in job.tasks if task.quoted_text is not None))


def check_results(job: Job, rows: pa.Table, texts: Mapping[str, Sequence[str]] | None) -> ResultFindings:
    """Verify what the tasks of a job wrote for N rows.

    Args:
        job: the job's settings.
        rows: a part, with its columns as declared.
        texts: for each of the `quoted_columns`, the N texts; None if the input cannot be read. Then only the lengths of
            quotations are verified.
    """
    findings = ResultFindings()
    for task in job.tasks:
        quoted = None
        if texts is not None and task.quoted_text is not None:
            quoted = texts[job.input.text_columns[task.quoted_text]]
        task.verify(rows, quoted, findings)
    return findings
