"""`xlm try`: a few rows of a job, without Ray and without writing, equal to those of a run."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jobs.cli import main
from jobs.job_file import load_job
from jobs.preview import read_preview
from pipelines.errors import FatalError
from pipelines.run.prepare import prepare_job
from pipelines.run.sample import compute_sample
from tests.flow.in_process import read_output, run_to_records


def load(demo: Path, out: Path, *settings: str):
    return load_job(demo / "small.yaml", [f"output.path={out}", *settings])


def read_sample(output) -> pa.Table:
    return pa.concat_tables((output.parts / file.name).read_table() for file in output.parts.list())


def test_rows_are_those_of_a_run_and_are_spread_over_the_corpus(demo, tmp_path):
    job = load(demo, tmp_path / "out")
    run_to_records(job)
    expected = {row["id"]: row for row in read_output(str(tmp_path / "out")).to_pylist()}
    sample = compute_sample(prepare_job(job), 15)
    rows = read_sample(sample).to_pylist()
    assert len(rows) + sum(record.rows_rejected for record in sample.ledger.load()) == 15
    assert len({row["lang"] for row in rows}) >= 10
    for row in rows:
        run = expected[row["id"]]
        np.testing.assert_allclose(row.pop("embedding"), run["embedding"], atol=1e-6)
        assert abs(row.pop("score") - run["score"]) < 1e-6
        assert [(word["label"], word["start"], word["end"]) for word in row.pop("words")] == [
            (word["label"], word["start"], word["end"]) for word in run["words"]
        ]
        assert row.items() <= run.items()


def test_nothing_is_written_and_the_sample_is_summarized(demo, tmp_path, capsys):
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*")}
    settings = ["--set", f"output.path={tmp_path}/out", "--set", "input.filter=lang in ['ja', 'de']"]
    assert main(["try", str(demo / "small.yaml"), "--rows", "4", *settings]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "4 of 365 rows, from 3 shards of 6; nothing was written\n" in printed.out
    table = printed.out[printed.out.index("lang  rows") :].splitlines()
    assert {line.split()[0] for line in table[1:-1]} == {"de", "ja"}
    assert not (tmp_path / "out").exists()
    assert {path: path.stat().st_mtime_ns for path in demo.rglob("*")} == before


def test_filter_that_drops_every_row_is_refused(demo, tmp_path):
    with pytest.raises(FatalError, match=r"input\.filter drops every row"):
        compute_sample(prepare_job(load(demo, tmp_path / "out", "input.filter=topic == 'none'")), 5)


def test_rejected_rows_are_shown(demo, tmp_path):
    job = load(demo, tmp_path / "out", "tokenizer.max_length=8", "tokenizer.on_overflow=reject")
    sample = compute_sample(prepare_job(job), 10)
    preview = read_preview(sample.location, 10)
    assert preview.totals.reasons["too_many_tokens"] > 0
    assert len(preview.examples["too_many_tokens"]) > 0
