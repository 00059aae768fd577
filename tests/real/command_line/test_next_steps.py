"""The messages of a run that cannot continue name what helps, and it helps."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.cli import main
from jobs.commands.job.check import check_job
from jobs.commands.job.run import run_job
from jobs.commands.output.show import show
from jobs.commands.output.status import print_status
from jobs.commands.output.verify import verify_output
from jobs.exit_status import ExitStatus
from pipelines.errors import FatalError, RetryableError, ShardError
from pipelines.job import Job
from pipelines.output import Output
from pipelines.run.execute import run
from pipelines.stages.write import Writer
from pipelines.storage import classify_error
from tests.flow.in_process import without_ray
from tests.flow.run.outputs import printed, quiet_console


def test_wrong_id_column_is_named_without_counting_the_whole_corpus(make_job, tmp_path):
    langs = ["en", "de"] * 100_000
    pq.write_table(pa.table({"text": langs, "lang": langs}), tmp_path / "in.parquet", row_group_size=10_000)
    job = make_job(input={"path": str(tmp_path / "in.parquet"), "id": "lang", "text": "text", "lang": "lang"})
    with pytest.raises(FatalError) as raised:
        run(job, quiet_console())
    message = str(raised.value)
    assert "input.id lang: 65,566 rows of the first 65,568 with the id of an earlier row" in message
    assert "in.parquet row 2 has that of" in message
    assert message.endswith("name a column of unique ids, or set policy.duplicate_ids to reject or ignore")


@pytest.fixture
def job_with_bad_rows(make_job, tmp_path, monkeypatch):
    """Of 20 rows, 6 are rejected: four in Klingon, and two in German without text."""
    without_ray(monkeypatch)
    monkeypatch.setattr("pipelines.corpus.lang_counts._QUICK_ROWS", 0)  # so that a run counts them only as it rejects
    langs = ["tlh"] * 4 + ["de"] * 4 + ["en"] * 12
    texts = [None if i in (4, 5) else f"Sentence {i}." for i in range(20)]
    pq.write_table(pa.table({"id": [*range(20)], "text": texts, "lang": langs}), tmp_path / "in.parquet")
    source = {"path": str(tmp_path / "in.parquet"), "id": "id", "text": "text", "lang": "lang"}
    return make_job(input=source, tasks=["feature-extraction"], policy={"max_rejected": 0.01})


REJECTED = (
    "6 rows rejected of 20 processed, and policy.max_rejected is 0.01: unknown_lang 4, null_text 2; by language: tlh "
    "4, de 2; correct them, or accept as many with --set policy.max_rejected=0.3"
)


def test_too_many_rejected_rows_are_named_by_reason_and_language_and_the_advice_works(job_with_bad_rows, capsys):
    job, out = job_with_bad_rows, job_with_bad_rows.output.path
    assert run_job(job, quiet_console()) == ExitStatus.INCOMPLETE
    assert f"xlm: {REJECTED}\n" in capsys.readouterr().err
    assert f"demo: {REJECTED}\n" in status_lines(out)
    assert f"rejected: unknown_lang 4, null_text 2; the rows are listed in {out}/_xlm/rejected\n" in status_lines(out)
    for command in (show_lines, verify_lines):
        assert REJECTED in command(out)
        assert "run the" not in command(out)
    assert REJECTED in check_lines(job)
    policy = job.policy.model_copy(update={"max_rejected": 0.3})
    assert run_job(job.model_copy(update={"policy": policy}), quiet_console()) == ExitStatus.COMPLETE
    assert Path(out, "_SUCCESS").exists()
    # The output is complete, but a run with the lower limit is not. A count is answered by a count.
    with_count = job.model_copy(update={"policy": job.policy.model_copy(update={"max_rejected": 2})})
    assert run_job(with_count, quiet_console()) == ExitStatus.INCOMPLETE
    assert "accept as many with --set policy.max_rejected=6\n" in capsys.readouterr().err
    console = quiet_console()
    assert run_job(job, console) == ExitStatus.INCOMPLETE
    assert "nothing to do" in printed(console)
    assert "demo: too many rejected rows" in printed(console)
    assert REJECTED in check_lines(job)


def test_rows_of_failed_shards_do_not_count_as_good_ones(job_with_bad_rows, monkeypatch, capsys):
    """Six of the ten rows that are processed are rejected, and all of them are in one shard. The other shard fails."""

    def fail_second(writer, shard):
        if shard.id.endswith("-000000010"):
            raise ShardError("a fault")
        return write(writer, shard)

    write = Writer.write
    monkeypatch.setattr(Writer, "write", fail_second)
    job = job_with_bad_rows.model_copy(
        update={
            "output": job_with_bad_rows.output.model_copy(update={"rows_per_shard": 10}),
            "policy": job_with_bad_rows.policy.model_copy(update={"max_rejected": 0.5, "max_failed_shards": 1}),
        }
    )
    assert run_job(job, quiet_console()) == ExitStatus.INCOMPLETE
    too_many = (
        "6 rows rejected of 10 processed, and policy.max_rejected is 0.5: unknown_lang 4, null_text 2; by language"
    )
    assert f"xlm: {too_many}" in capsys.readouterr().err
    assert f"demo: {too_many}" in status_lines(job.output.path)


def show_lines(out: str) -> str:
    console = quiet_console()
    console.width = 500
    show(out, 3, console)
    return printed(console)


def status_lines(out: str) -> str:
    console = quiet_console()
    console.width = 500
    assert print_status(out, console, as_json=False) == ExitStatus.INCOMPLETE
    return printed(console)


def check_lines(job: Job) -> str:
    console = quiet_console()
    assert check_job(job, console) == ExitStatus.INCOMPLETE
    return " ".join(printed(console).split())


def verify_lines(out: str) -> str:
    console = quiet_console()
    assert not verify_output(out, console)
    return " ".join(printed(console).split())  # as one line


def test_run_that_is_complete_except_for_failed_shards_says_so(make_job, monkeypatch):
    without_ray(monkeypatch)
    job = make_job(policy={"max_failed_shards": 1, "max_rejected": 1.0})
    write = Writer.write

    def fail_once(writer, shard):
        if shard.id.endswith("-000000000") and not failed:
            failed.append(shard.id)
            raise ShardError("a fault")
        return write(writer, shard)

    failed: list[str] = []
    monkeypatch.setattr(Writer, "write", fail_once)
    console = quiet_console()
    assert run_job(job, console) == ExitStatus.COMPLETE
    assert "demo: complete except for failed shards" in printed(console)
    assert f"1 failed shard, such as {failed[0]}: a fault" in printed(console)
    assert not Path(job.output.path, "_SUCCESS").exists()
    assert run(job, quiet_console())["status"] == "complete"


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "x"), RetryableError("the store failed"), OSError(5, "x")],
)
def test_full_disk_and_failing_store_have_one_exit_status(demo, tmp_path, monkeypatch, error):
    """It fails when a worker writes a part, or when the driver writes the report."""
    without_ray(monkeypatch)

    def fail(*_: object, **__: object) -> None:
        raise error if isinstance(error, RetryableError) else classify_error("/out", error, is_local=True)

    command = ["run", str(demo / "small.yaml"), "--set", f"output.path={tmp_path / 'out'}"]
    for method in (Writer, "write"), (Output, "finish"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(*method, fail)
            assert main(command) == ExitStatus.FAILED
    assert main(command) == ExitStatus.COMPLETE


def test_run_without_a_terminal_prints_its_first_line_before_it_imports_ray(demo, tmp_path):
    """Importing Ray ends the process here, without writing what is still buffered."""
    (tmp_path / "ray.py").write_text("import os\nos._exit(7)\n")
    command = [sys.executable, "-m", "jobs.cli", "run", str(demo / "small.yaml"), "--set", "input.path=/nowhere"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, text=True, capture_output=True, timeout=300, check=False, env=environment)
    assert done.returncode == 7
    assert done.stdout.endswith(' level=info msg="demo: checking the input and the checkpoint"\n')
