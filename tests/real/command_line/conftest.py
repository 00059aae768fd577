"""Fixtures: the command line, and a job on rows in given languages."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.job_file import load_job
from pipelines.job import Job
from tests.command_line import xlm

__all__ = ["xlm"]


@pytest.fixture
def corpus_job(demo: Path, tmp_path: Path) -> Callable[..., Job]:
    """Build the demo's job, without heads, on rows with the given languages."""

    def corpus_job(langs: pa.Array, *settings: str, row_group_size: int = 100) -> Job:
        ids = [str(i) for i in range(len(langs))]
        table = pa.table({"id": ids, "lang": langs, "text": ["Hello."] * len(ids), "year": list(range(len(ids)))})
        (tmp_path / "corpus").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "corpus" / "a.parquet", row_group_size=row_group_size)
        base = [f"input.path={tmp_path}/corpus", f"output.path={tmp_path}/out", "input.keep=[]", "input.filter=null"]
        return load_job(demo / "small.yaml", [*base, "tasks=[feature-extraction]", *settings])

    return corpus_job
