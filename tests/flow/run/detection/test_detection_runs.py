"""Jobs that detect languages on Ray: the stage has its own processes, which may die, and runs may be killed."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from ray.data import Dataset

from pipelines.checkpoints.loading import load_identifier
from pipelines.flow import build_dataset
from pipelines.run.execute import run
from tests.flow.in_process import read_output, read_rejected, run_stages
from tests.flow.run.outputs import quiet_console, result_digests, wait_until

CRASHING = "ja-003"


@pytest.fixture
def expected(detect_job, tmp_path) -> Path:
    """The output of the stages in one process."""
    job = detect_job(output__path=str(tmp_path / "expected"))
    run_stages(job)
    return tmp_path / "expected"


def test_ray_writes_the_same_bytes_in_processes_of_its_own(detect_job, expected, cluster, monkeypatch):
    datasets = list[Dataset]()

    def build(*arguments, **options) -> Dataset:
        datasets.append(build_dataset(*arguments, **options))
        return datasets[-1]

    monkeypatch.setattr("pipelines.run.shard_runner.build_dataset", build)
    job = detect_job()
    assert run(job, quiet_console())["status"] == "complete"
    assert result_digests(Path(job.output.path)) == result_digests(expected)
    (dataset,) = datasets
    operators = re.findall(r"^Operator \d+ (\S+):", dataset.stats(), re.MULTILINE)
    stages = ["Identify", "Tokenize", "Infer", "Writer"]
    assert operators == ["ReadCorpus", *(f"MapBatches({stage})" for stage in stages)]


@pytest.mark.long
def test_only_the_row_that_crashes_its_identifier_is_rejected(detect_job, cluster, corpus, tmp_path):
    (text,) = (row["text"] for row in corpus if row["id"] == CRASHING)

    def load_crashing_identifier(*arguments):
        tokenizer, model, task = load_identifier(*arguments)
        encode = tokenizer.encode_batch

        def encode_batch(texts, *args, **kwargs):
            if text in texts:
                os.kill(os.getpid(), signal.SIGKILL)
            return encode(texts, *args, **kwargs)

        tokenizer.encode_batch = encode_batch
        return tokenizer, model, task

    invariant = {"batch": {"invariant": True}}  # so that a row's bytes do not depend on the other rows
    undisturbed = detect_job(**invariant, output__path=str(tmp_path / "undisturbed"))
    run_stages(undisturbed)
    rows = read_output(undisturbed.output.path).sort_by("id")
    job = detect_job(**invariant)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.run.checks.detection.load_identifier", load_crashing_identifier)
        assert run(job, quiet_console())["status"] == "complete"
    (killed,) = (row for row in read_rejected(job.output.path) if row["reason"] == "killed_worker")
    assert killed["id"] == CRASHING
    others = rows.filter(pa.array([row_id != CRASHING for row_id in rows["id"].to_pylist()]))
    assert read_output(job.output.path).sort_by("id").equals(others)


@pytest.mark.long
def test_killed_run_is_resumed_to_the_same_bytes(detect_job, expected, tmp_path):
    job = detect_job()
    file, out = tmp_path / "job.yaml", Path(job.output.path)
    file.write_text(yaml.safe_dump(job.model_dump(mode="json")), encoding="utf-8")
    command = [sys.executable, "-c", "from jobs.cli import main; main()", "run", str(file)]
    driver = subprocess.Popen(command, cwd=Path(__file__).parents[4], stderr=subprocess.DEVNULL, process_group=0)
    try:
        wait_until(lambda: list((out / "data").glob("*.parquet")) or driver.poll() is not None)
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    assert not (out / "_SUCCESS").exists()
    kept = {path: path.stat().st_mtime_ns for path in (out / "data").glob("*.parquet")}
    assert 0 < len(kept) < len(list((expected / "data").iterdir()))
    assert subprocess.run(command, cwd=Path(__file__).parents[4], check=False, capture_output=True).returncode == 0
    assert result_digests(out) == result_digests(expected)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
