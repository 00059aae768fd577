"""A fixture that runs tasks over rows with the real stages, without Ray."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.flow.in_process import read_output, run_to_records
from xlm_core import XLMTokenizer

Row = dict[str, Any]


@pytest.fixture(scope="session")
def tokenizer(checkpoints: Path) -> XLMTokenizer:
    return XLMTokenizer.from_pretrained(checkpoints / "lm", ja="fugashi")


@pytest.fixture(scope="session")
def rows(corpus: list[Row]) -> list[Row]:
    """40 sentences in 17 languages. The last four repeat the first four with other ids."""
    picked = [row for row in corpus if row["lang"] != "ja"][::9][:36]
    return picked + [row | {"id": f"again-{row['id']}"} for row in picked[:4]]


@pytest.fixture
def run_rows(make_job, checkpoints, tmp_path):
    """Run a job over rows, and return its output by id. `path`, `records` and `table` are those of the last run."""

    def run(rows: list[Row], tasks: list[Any], text: Any = "text", **changes: Any) -> dict[str, Row]:
        number = len(list(tmp_path.glob("in-*.parquet")))
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"in-{number}.parquet")
        input_settings = {"path": str(tmp_path / f"in-{number}.parquet"), "id": "id", "text": text, "lang": "lang"}
        settings = {"output__path": str(tmp_path / f"out-{number}"), "output__rows_per_shard": 40} | changes
        model = {"checkpoint": str(checkpoints / "lm")} | settings.pop("model", {})
        job = make_job(input=input_settings, model=model, tasks=tasks, **settings)
        run.records = run_to_records(job)
        run.path = job.output.path
        run.table = read_output(job.output.path)
        return {row["id"]: row for row in run.table.to_pylist()}

    return run
