"""Runs of the command line that are killed or stopped, and run again."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pipelines.output.directory import Output
from pipelines.run.cluster.lost_cluster import find_child_processes
from pipelines.storage import locate
from tests.flow.run.outputs import ledger_records, result_digests, wait_until


def test_resume_after_sigkill_gives_identical_output(undisturbed, demo, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "jobs.cli", "run", str(demo / "job.yaml"), "--set", f"output.path={out}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: list(out.glob("data/part-*")))
    time.sleep(random.uniform(0, 1))
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no warning, and no message of Ray
    assert result_digests(out) == result_digests(undisturbed)
    assert (out / "_SUCCESS").exists()


@pytest.fixture
def _default_sigint() -> Iterator[None]:
    """Let child processes handle SIGINT, even if the tests run in a shell's background and ignore it."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.mark.usefixtures("_default_sigint")
def test_stopped_runs_end_in_order_and_can_be_resumed(demo, tmp_path):
    """SIGINT and SIGTERM let shards in flight finish; the loss of Ray's raylet ends the run."""
    corpus, out = tmp_path / "corpus", tmp_path / "out"
    corpus.mkdir()
    rows = ds.dataset(demo / "corpus").to_table(filter=ds.field("year") >= 2020)
    pq.write_table(rows, corpus / "many-row-groups.parquet", row_group_size=2)
    command = [sys.executable, "-m", "jobs.cli", "run", str(demo / "job.yaml")]
    for setting in (f"input.path={corpus}", f"output.path={out}", "output.rows_per_shard=2", "batch.invariant=true"):
        command += ["--set", setting]

    def num_recorded() -> int:
        return len(Output(locate(str(out))).ledger.load())

    def start() -> subprocess.Popen[str]:
        before = len(list(out.glob("data/part-*")))
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, **pipes, start_new_session=True)
        # Wait for a part instead of its record, because records are written in batches.
        wait_until(lambda: len(list(out.glob("data/part-*"))) > before)
        return process

    for number, reason in ((signal.SIGTERM, "terminated"), (signal.SIGINT, "interrupted")):
        process = start()
        before = num_recorded()
        # A terminal sends SIGINT to Ray's processes as well; they must still finish their shards.
        os.kill(process.pid, number) if number == signal.SIGTERM else os.killpg(process.pid, number)
        lines, errors = process.communicate(timeout=240)
        assert process.returncode == 130
        assert f"{reason}; finishing the shards in flight, for at most 25 s" in lines
        assert errors == "xlm: interrupted; finished shards are kept, run the same command to resume\n"
        assert not (out / "_SUCCESS").exists()
        assert num_recorded() >= before
        assert Output(locate(str(out))).list_parts().keys() == {record.part for record in ledger_records(out)}

    process = start()
    os.kill(find_child_processes("raylet", parent=process.pid)[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=240)  # without the cluster watch, Ray would wait forever
    assert process.returncode == 1
    # Empty if Ray notices the loss first: it ends the process at once. tests/pipelines/test_lost_cluster.py tests the
    # message.
    assert errors == "" or (errors.startswith("xlm: ") and errors.endswith("run the same command to resume\n"))
    assert errors.count("\n") <= 1
    assert not (out / "_SUCCESS").exists()
