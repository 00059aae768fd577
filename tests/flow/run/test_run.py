"""Complete runs of a job on Ray."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipelines.output.directory import Output
from pipelines.run.execute import run
from pipelines.status import read_status
from pipelines.storage import locate
from tests.flow.in_process import read_rejected, run_stages, without_ray
from tests.flow.run.outputs import modification_times, printed, quiet_console, result_digests


def test_every_row_is_written_or_rejected_and_accounted_for(undisturbed, demo):
    table = ds.dataset(undisturbed / "data").to_table()
    source = ds.dataset(demo / "corpus").to_table(filter=ds.field("year") >= 2020)
    rejected = read_rejected(str(undisturbed))
    assert len(rejected) == 5
    assert sorted(table["id"].to_pylist() + [row["id"] for row in rejected]) == sorted(source["id"].to_pylist())
    assert table.schema.names == ["id", "lang", "topic", "year", "embedding", "label", "score", "words"]
    assert (undisturbed / "_SUCCESS").exists()
    report = json.loads((undisturbed / "_xlm" / "report.json").read_text())
    assert report["totals"]["rows_in"] == len(source)
    assert report["totals"]["rows_out"] == len(table)
    assert report["reasons"] == dict.fromkeys(
        ["empty_text", "invalid_utf8", "null_lang", "null_text", "unknown_lang"], 1
    )
    assert len(report["langs"]) == 18
    records = list(Output(locate(str(undisturbed))).ledger.load())
    plan = pq.read_table(undisturbed / "_xlm" / "plan.parquet")
    assert {record.shard for record in records} == set(plan["shard"].to_pylist())
    for record in records:
        assert record.rows_in == record.rows_out + record.rows_rejected
        assert pq.read_metadata(undisturbed / "data" / record.part).num_rows == record.rows_out


def test_ray_writes_the_same_bytes_as_the_stages_in_one_process(undisturbed, make_job):
    job = make_job()
    run_stages(job)
    assert result_digests(Path(job.output.path)) == result_digests(undisturbed)


def test_second_run_writes_nothing(undisturbed, make_job):
    before = modification_times(undisturbed)
    console = quiet_console()
    report = run(make_job(output__path=str(undisturbed)), console)
    assert "nothing to do" in printed(console)
    assert report["status"] == "complete"
    assert modification_times(undisturbed) == before


def test_each_stage_has_its_own_processes(demo_run):
    """If Ray fused two stages, reading and tokenizing would run in the model's process and wait for the model."""
    assert demo_run.operators == ["ReadCorpus", "MapBatches(Tokenize)", "MapBatches(Infer)", "MapBatches(Writer)"]


def test_fatal_error_in_a_worker_ends_the_run_with_one_line(demo, tmp_path, cluster, monkeypatch, xlm):
    """Japanese text without a KyTea model, which a tokenizer process finds if the driver does not."""
    monkeypatch.setattr("pipelines.run.output_checks.check_segmenters", lambda *_: None)
    settings = [f"output.path={tmp_path}/out", "tokenizer.ja=kytea", "compute.tokenizers=1", "compute.models=1"]
    ended = xlm("run", str(demo / "small.yaml"), *(f"--set={setting}" for setting in settings))
    assert ended.status == 2
    assert ended.err.startswith("xlm: Japanese text needs a KyTea model, and none is configured; set ")
    assert ended.err.count("\n") == 1


def test_status_and_report_have_the_same_rows_and_speed(make_job, tmp_path, monkeypatch):
    """Also if whole row groups are not read, because their statistics show that the filter drops them."""
    without_ray(monkeypatch)
    years = [2000] * 100 + [2024] * 50 + [2000] * 50
    rows = {"id": [*range(200)], "text": ["A text."] * 200, "lang": ["en"] * 200, "year": years}
    pq.write_table(pa.table(rows), tmp_path / "in.parquet", row_group_size=100)
    source = {"path": str(tmp_path / "in.parquet"), "id": "id", "text": "text", "lang": "lang", "filter": "year > 2020"}
    job = make_job(input=source, tasks=["feature-extraction"])
    report = run(job, quiet_console())
    status = read_status(Output(locate(job.output.path))).to_json()
    assert status["rows"] == {"corpus": 200, "done": 200, "in_flight": 0, "written": 50, "rejected": 0, "filtered": 150}
    totals = {name: report["totals"][f"rows_{name}"] for name in ("corpus", "out", "rejected", "filtered")}
    assert totals == {"corpus": 200, "out": 50, "rejected": 0, "filtered": 150}
    for name in ("started", "ended", "tokens_per_s"):
        assert status["run"][name] == report["run"][name] is not None


def test_run_beyond_max_rejected_is_not_successful(make_job, cluster, monkeypatch):
    job = make_job(policy={"max_rejected": 4}, tasks=["feature-extraction"])
    report = run(job, quiet_console())
    assert report["status"] == "too many rejected rows"
    assert not Path(job.output.path, "_SUCCESS").exists()
    # The limit does not change results, so another run may raise it.
    without_ray(monkeypatch)
    report = run(make_job(policy={"max_rejected": 5}, tasks=["feature-extraction"]), quiet_console())
    assert report["status"] == "complete"
    assert Path(job.output.path, "_SUCCESS").exists()
