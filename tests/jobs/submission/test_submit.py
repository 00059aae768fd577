"""Jobs that are submitted to a Ray head on loopback, as they are to a cluster."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from jobs.submission import ShippedJob
from pipelines.output.directory import Output
from pipelines.storage import locate
from tests.flow.run.outputs import ledger_records, result_digests, wait_until
from tests.jobs.submission.proxy import Proxy
from tests.jobs.submission.ray_head import RayHead

pytestmark = pytest.mark.long

NIGHT = "night-2026-11-28"


class Submission(NamedTuple):
    """What several calls of `xlm submit` for one job did.

    Attributes:
        out: the output of the job.
        ended: exit status, stdout and stderr of each call.
    """

    out: Path
    ended: dict[str, tuple[int, str, str]]


@pytest.fixture(scope="module")
def settings(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Small shards, so that a job can be stopped in the middle, and results that do not depend on their neighbours."""
    corpus = tmp_path_factory.mktemp("corpus")
    rows = ds.dataset(demo / "corpus").to_table(filter=ds.field("year") >= 2020)
    pq.write_table(rows, corpus / "corpus.parquet", row_group_size=2)
    values = [f"input.path={corpus}", "output.rows_per_shard=2", "batch.invariant=true"]
    values += ["compute.tokenizers=1", "compute.models=1"]
    return [argument for value in values for argument in ("--set", value)]


@pytest.fixture(scope="module")
def undisturbed(head: RayHead, demo: Path, settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Submission:
    """Submit one job twice at once; interrupt a third call; cut the connection of the first call."""
    out, proxy = tmp_path_factory.mktemp("undisturbed") / "out", Proxy(head.address)
    arguments = [str(demo / "small.yaml"), *settings, "--set", f"output.path={out}", "--submission-id", NIGHT]

    def start(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "jobs.cli", "submit", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | head.credentials,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    calls = {
        "cut": start(*arguments, "--address", proxy.address),
        "direct": start(*arguments, "--address", head.address),
    }
    wait_until(lambda: NIGHT in head.jobs())
    calls["interrupted"] = start("--submission-id", NIGHT, "--address", head.address)
    printed = calls["interrupted"].stdout.readline()
    calls["interrupted"].send_signal(signal.SIGINT)
    wait_until(lambda: list(out.glob("data/part-*")))
    proxy.cut()
    lost = calls["cut"].stderr.readline()
    proxy.restore()
    ended = {}
    for name, call in calls.items():
        log, errors = call.communicate(timeout=300)
        ended[name] = (call.returncode, log, errors)
    proxy.close()
    ended["cut"] = (ended["cut"][0], ended["cut"][1], lost + ended["cut"][2])
    ended["interrupted"] = (ended["interrupted"][0], printed + ended["interrupted"][1], ended["interrupted"][2])
    return Submission(out, ended)


def log_of(printed: str) -> str:
    """Return the log of the job, after the lines of `xlm submit` itself."""
    return printed.partition("\n")[2]


def test_two_calls_at_once_run_the_job_once_and_follow_it(undisturbed, head):
    (status, log, errors), (cut_status, cut_log, _) = undisturbed.ended["direct"], undisturbed.ended["cut"]
    assert (status, errors, cut_status) == (0, "", 0)
    assert list(head.jobs()).count(NIGHT) == 1
    assert f"{NIGHT}@2" not in head.jobs()
    first_lines = sorted(printed.partition("\n")[0] for printed in (log, cut_log))
    assert first_lines[0] == f"{NIGHT} is running already"
    assert first_lines[1].startswith(f"submitted {NIGHT} to http://127.0.0.1:")
    assert "demo: complete" in log


def test_log_is_complete_after_the_connection_was_lost(undisturbed):
    _, log, errors = undisturbed.ended["cut"]
    assert log_of(log) == log_of(undisturbed.ended["direct"][1])
    lost, again = errors.splitlines()
    assert re.fullmatch(r"xlm: http://127.0.0.1:\d+: no answer \(.+\); retrying for ten minutes", lost)
    assert re.fullmatch(r"xlm: http://127.0.0.1:\d+ answers again", again)


def test_ctrl_c_ends_following_and_not_the_job(undisturbed, head):
    status, _, errors = undisturbed.ended["interrupted"]
    command = f"xlm submit --submission-id {NIGHT} --address {head.address}"
    assert (status, errors) == (
        130,
        f"xlm: {NIGHT} continues on the cluster; follow it with: {command}; --stop stops it\n",
    )
    assert head.jobs()[NIGHT]["status"] == "SUCCEEDED"


def test_output_is_complete(undisturbed, xlm):
    assert xlm("verify", str(undisturbed.out)).status == 0


def test_job_with_an_id_of_its_own_runs_until_it_has_succeeded(undisturbed, submit, head, demo, settings):
    job = [str(demo / "small.yaml"), *settings, "--set", f"output.path={undisturbed.out}", "--submission-id", NIGHT]
    assert submit(*job) == (0, f"{NIGHT} has succeeded already; nothing is submitted\n", "")
    other = submit(*job, "--set", "batch.max_tokens=99")
    assert (other.status, other.out) == (2, "")
    assert other.err.startswith(f"xlm: {NIGHT} has succeeded with other settings, and is not run again; pass another")
    assert submit("--submission-id", NIGHT, "--no-wait") == (0, f"{NIGHT} is SUCCEEDED\n", "")
    assert f"{NIGHT}@2" not in head.jobs()


def test_exit_status_of_a_failed_job_is_that_of_the_run(undisturbed, submit, demo, settings):
    """With status 2 the job is invalid, and with 3 too many rows are rejected."""
    arguments = [str(demo / "small.yaml"), *settings, "--set"]
    missing = submit(*arguments, "output.path=/tmp/unused", "--set", "input.path=/no/corpus")
    assert missing.status == 2
    assert "/no/corpus" in log_of(missing.out)
    too_many = submit(*arguments, f"output.path={undisturbed.out}", "--set", "policy.max_rejected=0")
    assert too_many.status == 3
    assert "policy.max_rejected is 0" in log_of(too_many.out)


def test_stopped_job_ends_in_order_and_resumes_to_identical_output(undisturbed, submit, head, demo, settings, tmp_path):
    out = tmp_path / "out"
    job = [str(demo / "small.yaml"), *settings, "--set", f"output.path={out}", "--set", "policy.stop_grace_s=200"]

    def num_parts() -> int:
        return len(list(out.glob("data/part-*")))

    first = submit(*job, "--no-wait")
    submission_id = re.match(r"submitted (demo-[0-9a-f]{8}) to ", first.out)[1]
    assert first.out.splitlines()[1].startswith(f"follow it with: xlm submit --submission-id {submission_id} --add")
    changed = submit(*job, "--set", "batch.max_tokens=99")
    assert (changed.status, changed.out) == (2, "")
    assert changed.err.startswith(f"xlm: {submission_id} is running with other settings; ")

    wait_until(num_parts)
    stopped = submit(*job, "--stop")
    assert (stopped.status, stopped.err) == (0, "")
    assert stopped.out.splitlines()[1].startswith(f"{submission_id} has ended (STOPPED)")
    assert 0 < num_parts() < len(list(undisturbed.out.glob("data/part-*")))
    # The run was given the time to end: all that was written is recorded, and no lock or process is left.
    parts = {file.name for file in Output(locate(str(out))).parts.list()}
    assert parts == {record.part for record in ledger_records(out)}
    followed = submit("--submission-id", submission_id)
    assert followed.status == 130
    assert followed.err == (
        f"xlm: {submission_id} was stopped; what it has finished is kept, submit it again to resume\n"
    )
    assert followed.out.endswith("xlm: interrupted; what is finished is kept, run the same command to resume\n")
    assert submit(*job, "--stop").out == f"{submission_id} has ended already (STOPPED)\n"

    resumed = submit(*job)
    assert (resumed.status, resumed.err) == (0, "")
    assert resumed.out.startswith(f"submitted {submission_id}@2 to ")
    assert result_digests(out) == result_digests(undisturbed.out)


def test_training_runs_on_the_cluster(submit, xlm, demo, tmp_path):
    job = tmp_path / "training.yaml"
    job.write_text(
        f"""
        name: topics
        model: {{checkpoint: {demo}/checkpoint}}
        objectives:
          - text-classification:
              input: {{path: {demo}/corpus, text: text, lang: lang, filter: "topic is not None"}}
              label: topic
        training: {{steps: 3, tokens_per_step: 200}}
        tokenizer: {{ja: fugashi}}
        policy: {{max_rejected: 0.9}}
        output: {{path: {tmp_path}/out}}
        """
    )
    ended = submit(str(job), "--set", "compute.tokenizers=1")
    assert (ended.status, ended.err) == (0, ""), ended.out
    assert "3 steps, " in ended.out
    assert xlm("inspect", str(tmp_path / "out/model")).status == 0


@pytest.mark.slow
def test_job_that_is_killed_at_once_resumes_to_identical_output(
    undisturbed, submit, head, demo, settings, tmp_path, monkeypatch
):
    """As the head kills the jobs of `ray job submit`, which do not set how long it waits."""
    out = tmp_path / "out"
    job = [str(demo / "small.yaml"), *settings, "--set", f"output.path={out}"]
    monkeypatch.setattr(ShippedJob, "stop_wait_s", 0)
    submission_id = re.match("submitted (.+) to ", submit(*job, "--no-wait").out)[1]
    wait_until(lambda: list(out.glob("data/part-*")))
    assert f"{submission_id} has ended (STOPPED)" in submit(*job, "--stop").out
    assert not (out / "_SUCCESS").exists()
    assert submit(*job).status == 0
    assert result_digests(out) == result_digests(undisturbed.out)


@pytest.mark.slow
def test_packages_are_installed_for_a_job(undisturbed, submit, demo, settings):
    """The head has all of them already, so that nothing is downloaded."""
    job = [str(demo / "small.yaml"), *settings, "--set", f"output.path={undisturbed.out}"]
    ended = submit(*job, "--pip")
    assert (ended.status, ended.err) == (0, ""), ended.out
    assert "nothing to do" in ended.out
