"""Whole jobs on Ray: what is in the output, what a second run does, and what a kill costs."""

import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from pipelines.corpus.plan import make_plan
from pipelines.errors import FatalError
from pipelines.flow import build_dataset, stream_results
from pipelines.job.job import PolicySettings
from pipelines.output.directory import Output
from pipelines.output.shard_record import ShardRecord
from pipelines.run.cluster_watch import find_child_processes
from pipelines.run.execute import run
from pipelines.run.prepare import prepare
from pipelines.storage import locate
from tests.flow.in_process import POOLS, read_rejected, run_stages, without_ray


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def contents(out: Path) -> dict[str, str]:
    """Every file that carries results, by its path."""
    files = [*out.glob("part-*"), *(out / "_xlm" / "rejected").glob("*")]
    return {str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def states(out: Path) -> dict[str, int]:
    return {str(file.relative_to(out)): file.stat().st_mtime_ns for file in out.rglob("*") if file.name != "lock"}


@pytest.fixture(scope="module")
def undisturbed(demo: Path, tmp_path_factory: pytest.TempPathFactory, cluster: None) -> Path:
    """The demo's job, run to its end."""
    from jobs.job_file.load import load_job

    out = tmp_path_factory.mktemp("undisturbed") / "out"
    settings = [f"output.path={out}", "compute.tokenizers=1", "compute.models=1"]
    report = run(load_job(demo / "job.yaml", settings), quiet())
    assert report["status"] == "complete"
    return out


@pytest.fixture
def in_process(monkeypatch):
    """Runs whose stages are in this process: for what happens around them."""
    without_ray(monkeypatch)


def test_a_job_from_end_to_end(undisturbed, demo, make_job):
    table = ds.dataset(undisturbed).to_table()
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
    ledger = Output(locate(str(undisturbed))).ledger.load()
    assert set(ledger) == set(pq.read_table(undisturbed / "_xlm" / "plan.parquet")["shard"].to_pylist())
    for record in ledger.values():
        assert record.rows_in == record.rows_out + record.rows_rejected
        assert pq.read_metadata(undisturbed / record.part).num_rows == record.rows_out
    # what Ray's processes wrote is what the stages give one after the other in one process
    job = make_job()
    run_stages(job)
    assert contents(Path(job.output.path)) == contents(undisturbed)


def test_a_second_run_finds_nothing_to_do_and_writes_nothing(undisturbed, make_job):
    before = states(undisturbed)
    console = quiet()
    report = run(make_job(output__path=str(undisturbed)), console)
    assert "nothing to do" in said(console)
    assert report["status"] == "complete"
    assert states(undisturbed) == before


def test_settings_that_change_no_result_may_change(undisturbed, make_job):
    run(make_job(output__path=str(undisturbed), batch={"max_tokens": 77}, name="other"), quiet())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tokenizer__max_length": 64}, "tokenizer.max_length: 128 there, 64 now"),
        ({"input__filter": "year >= 2021"}, "input.filter"),
        ({"input__keep": ["lang"]}, "input.keep"),
        ({"tasks": ["feature-extraction"]}, "tasks"),
        ({"output__rows_per_shard": 32}, "rows_per_shard: 64 there, 32 now"),
        ({"batch": {"invariant": True}}, "invariant: false there, true now"),
    ],
)
def test_an_output_of_another_job_is_refused(undisturbed, make_job, changes, named):
    before = states(undisturbed)
    changes = {"output__path": str(undisturbed)} | changes
    with pytest.raises(FatalError, match="contains the results of another job") as caught:
        run(make_job(**changes), quiet())
    assert named in str(caught.value)
    assert states(undisturbed) == before


def test_a_checkpoint_with_other_weights_is_another_job(undisturbed, make_job, demo, tmp_path):
    from xlm_core import XLMConfig, XLMModel

    shutil.copytree(demo / "checkpoint", tmp_path / "checkpoint")
    XLMModel(XLMConfig.from_pretrained(demo / "checkpoint")).save_pretrained(tmp_path / "checkpoint")
    with pytest.raises(FatalError, match=r"contains the results of another job \(checkpoint: "):
        run(make_job(output__path=str(undisturbed), model__checkpoint=str(tmp_path / "checkpoint")), quiet())


def test_a_second_run_while_one_is_alive_is_refused(undisturbed, make_job, tmp_path, in_process):
    out = tmp_path / "copy"
    shutil.copytree(undisturbed, out)
    (out / "_SUCCESS").unlink()
    with Output(locate(str(out))).lock(), pytest.raises(FatalError, match="another run is writing here"):
        run(make_job(output__path=str(out)), quiet())
    run(make_job(output__path=str(out)), quiet())  # and the lock is gone with its holder
    assert (out / "_SUCCESS").exists()


def test_files_that_were_added_changed_and_removed(undisturbed, make_job, demo, tmp_path, cluster):
    """Only new files are computed; parts of files that changed or went are removed, and the run says so."""
    corpus = tmp_path / "corpus"
    shutil.copytree(demo / "corpus", corpus)
    job = make_job(input__path=str(corpus), tasks=["feature-extraction"])
    out = Path(job.output.path)
    run(job, quiet())
    first = states(out)

    pq.write_table(pq.read_table(corpus / "part-1.parquet").slice(0, 9), corpus / "added.parquet")
    added = pq.read_table(corpus / "added.parquet")
    ids = pa.array([f"new-{i}" for i in range(len(added))])
    pq.write_table(added.set_column(0, "id", ids), corpus / "added.parquet")
    run(job, quiet())
    second = states(out)
    parts = {path for path in first if path.startswith("part-")}
    assert {path: second[path] for path in parts} == {path: first[path] for path in parts}
    assert sum(path.startswith("part-") for path in second) == len(parts) + 1
    assert (out / "_SUCCESS").exists()

    (corpus / "part-2.parquet").unlink()
    pq.write_table(pq.read_table(corpus / "part-1.parquet").slice(0, 100), corpus / "part-1.parquet")
    before = states(out)
    with pytest.raises(FatalError, match=r"6 of 7 parts would be removed.*; if they did, set policy.max_removed"):
        run(job, quiet())  # an input that is not there, say not mounted, looks the same
    assert states(out) == before
    console = quiet()
    run(make_job(input__path=str(corpus), tasks=["feature-extraction"], policy={"max_removed": 1.0}), console)
    assert "removing 6 parts of files that changed or were deleted" in said(console)
    expected = ds.dataset(corpus).to_table(filter=ds.field("year") >= 2020)
    bad = {row["id"] for row in read_rejected(str(out))}
    found = ds.dataset(out).to_table()["id"].to_pylist()
    assert sorted(found) == sorted(row_id for row_id in expected["id"].to_pylist() if row_id not in bad)
    assert bad == {"bad-null"}


def test_a_part_that_is_gone_is_computed_again(undisturbed, make_job, tmp_path, cluster):
    out = tmp_path / "copy"
    shutil.copytree(undisturbed, out)
    before = contents(out)
    next(out.glob("part-*")).unlink()
    console = quiet()
    run(make_job(output__path=str(out)), console)
    assert "1 recorded parts are missing or changed" in said(console)
    assert contents(out) == before


def test_ids_that_repeat_as_files_come_and_go(make_job, tmp_path, in_process):
    """Each id is in the output once, and rejected once for every other row that has it, whatever came first."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()

    def write(name: str, ids: str) -> None:
        texts = [f"{row_id} in {name}, {random.random()}" for row_id in ids]
        table = pa.table({"id": list(ids), "text": texts, "lang": ["en"] * len(ids)})
        pq.write_table(table, corpus / f"{name}.parquet")

    job = make_job(
        input={"path": str(corpus), "id": "id", "text": "text", "lang": "lang"},
        policy={"duplicate_ids": "reject", "max_rejected": 1.0},
        tasks=["feature-extraction"],
    )
    out = Path(job.output.path)

    def check(ids: str, rejected: str) -> None:
        assert run(job, quiet())["status"] == "complete"
        assert (out / "_SUCCESS").exists()
        assert sorted(ds.dataset(out).to_table()["id"].to_pylist()) == list(ids)
        assert sorted(row["id"] for row in read_rejected(str(out))) == list(rejected)

    write("a", "ab")
    write("b", "bc")
    check("abc", "b")
    write("a", "ab")  # the file with the first b changes
    check("abc", "b")
    write("0", "cd")  # a new file that sorts first: what is written stays
    check("abcd", "bc")
    (out / "_xlm" / "plan.parquet").unlink()
    write("1", "a")
    check("abcd", "abc")
    for file in (out / "_xlm" / "ledger").iterdir():  # as if killed before any record
        file.unlink()
    (corpus / "a.parquet").unlink()
    check("abcd", "c")
    (corpus / "0.parquet").unlink()
    check("abc", "")


def test_a_run_that_is_refused_leaves_the_output_as_it_was(make_job, tmp_path, in_process):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name, row_id in (("a", "1"), ("b", "2")):
        table = pa.table({"id": [row_id], "text": ["some text"], "lang": ["en"]})
        pq.write_table(table, corpus / f"{name}.parquet")
    job = make_job(
        input={"path": str(corpus), "id": "id", "text": "text", "lang": "lang"}, tasks=["feature-extraction"]
    )
    run(job, quiet())
    before = states(Path(job.output.path))
    pq.write_table(pa.table({"id": ["1"], "text": ["again"], "lang": ["en"]}), corpus / "b.parquet")
    with pytest.raises(FatalError, match="1 rows repeat an id"):
        run(job, quiet())
    assert states(Path(job.output.path)) == before
    # its advice works: `reject` may go on where `error` stopped
    assert run(job.model_copy(update={"policy": PolicySettings(duplicate_ids="reject", max_rejected=1)}), quiet())


def test_a_run_that_waited_for_one_that_did_it_all_leaves_the_output_alone(make_job, in_process, monkeypatch):
    job = make_job(tasks=["feature-extraction"])
    out, lock, done = Path(job.output.path), Output.lock, dict[str, Any]()

    def lock_after_another(output):
        monkeypatch.setattr(Output, "lock", lock)
        run(job, quiet())
        done.update(states(out))
        return lock(output)

    monkeypatch.setattr(Output, "lock", lock_after_another)
    assert run(job, quiet())["status"] == "complete"
    assert done
    assert states(out) == done


def test_damaged_rejected_rows_are_computed_again(make_job, tmp_path, in_process):
    """Whatever their size: which rows repeated an id stands nowhere else."""
    table = pa.table({"id": ["1", "1"], "text": ["some text", "another"], "lang": ["en", "en"]})
    pq.write_table(table, tmp_path / "in.parquet")
    job = make_job(
        input={"path": str(tmp_path / "in.parquet"), "id": "id", "text": "text", "lang": "lang"},
        tasks=["feature-extraction"],
        policy={"duplicate_ids": "reject", "max_rejected": 1.0},
    )
    run(job, quiet())
    before = contents(Path(job.output.path))
    (rejected,) = Path(job.output.path, "_xlm", "rejected").iterdir()
    rejected.write_bytes(bytes(rejected.stat().st_size))
    assert run(job, quiet())["status"] == "complete"
    assert contents(Path(job.output.path)) == before
    assert [row["reason"] for row in read_rejected(job.output.path)] == ["duplicate_id"]


def test_parts_that_are_cut_short_or_lack_their_rejected_rows_are_computed_again(make_job, in_process):
    job = make_job()
    run(job, quiet())
    out = Path(job.output.path)
    before = contents(out)
    part = next(out.glob("part-*"))
    part.write_bytes(part.read_bytes()[:-9])
    next((out / "_xlm" / "rejected").iterdir()).unlink()
    run(job, quiet())
    assert contents(out) == before


def test_heads_that_change_places_are_another_job(make_job, demo, tmp_path, in_process):
    from xlm_core import SequenceClassificationHead, XLMConfig

    other = tmp_path / "head"
    SequenceClassificationHead(XLMConfig.from_pretrained(demo / "heads" / "topic")).save_pretrained(other)
    heads = [str(demo / "heads" / "topic"), str(other)]
    tasks = [
        [{"text-classification": {"head": h, "name": n}} for h, n in zip(order, "ab", strict=True)]
        for order in (heads, heads[::-1])
    ]
    run(make_job(tasks=tasks[0]), quiet())
    with pytest.raises(FatalError, match="contains the results of another job"):
        run(make_job(tasks=tasks[1]), quiet())


def test_parts_without_a_record_are_replaced_or_removed(undisturbed, make_job, tmp_path, cluster):
    """What a kill between a part and its record leaves; also a part of a file that has changed since."""
    out = tmp_path / "copy"
    shutil.copytree(undisturbed, out)
    before = contents(out)
    shutil.rmtree(out / "_xlm" / "ledger")
    (out / "_SUCCESS").unlink()
    damaged = next(out.glob("part-*"))
    damaged.write_bytes(b"half a pa")
    shutil.copy(next(out.glob("part-*1-*")), out / "part-0000000000000000-00000-000000000.parquet")
    (out / ".part-x.parquet.0a1b2c3d.tmp").write_bytes(b"left by a killed writer")
    run(make_job(output__path=str(out)), quiet())
    assert contents(out) == before
    assert not list(out.glob(".*"))


def ledger_of(out: Path) -> list[ShardRecord]:
    return list(Output(locate(str(out))).ledger.load().values())


def wait_for(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_killed_at_a_random_moment_and_run_again(undisturbed, demo, tmp_path):
    """SIGKILL of the driver, with a Ray of its own: the output is that of the undisturbed run, to the byte."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "jobs.cli", "run", str(demo / "job.yaml"), "--set", f"output.path={out}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: list(out.glob("part-*")))
    time.sleep(random.uniform(0, 1))
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # none of Ray's noise, and no warning
    assert contents(out) == contents(undisturbed)
    assert (out / "_SUCCESS").exists()


@pytest.fixture
def _hears_ctrl_c() -> Iterator[None]:
    """What is started from here has SIGINT's default, though tests in a shell's background were told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_hears_ctrl_c")
def test_runs_that_are_stopped_say_how_to_go_on(demo, tmp_path):
    """Ctrl-C and SIGTERM end a run in order, the loss of a process of Ray with a line; none with a hang."""
    corpus, out = tmp_path / "corpus", tmp_path / "out"
    corpus.mkdir()
    rows = ds.dataset(demo / "corpus").to_table(filter=ds.field("year") >= 2020)
    pq.write_table(rows, corpus / "many-row-groups.parquet", row_group_size=2)
    command = [sys.executable, "-m", "jobs.cli", "run", str(demo / "job.yaml")]
    for setting in (f"input.path={corpus}", f"output.path={out}", "output.rows_per_shard=2", "batch.invariant=true"):
        command += ["--set", setting]

    def recorded() -> int:
        return len(Output(locate(str(out))).ledger.load())

    def start() -> subprocess.Popen[str]:
        before = len(list(out.glob("part-*")))
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, **pipes, start_new_session=True)
        wait_for(lambda: len(list(out.glob("part-*"))) > before)  # not yet in the ledger, whose records wait for others
        return process

    for number, told in ((signal.SIGTERM, "terminated"), (signal.SIGINT, "interrupted")):
        process = start()
        before = recorded()
        # a terminal's Ctrl-C reaches Ray's processes as well; they must go on to finish what they are at
        os.kill(process.pid, number) if number == signal.SIGTERM else os.killpg(process.pid, number)
        lines, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert f"{told}; finishing the shards in flight, for at most 25 s" in lines
        assert errors == "xlm: interrupted; what is done is kept, run the same command to go on\n"
        assert not (out / "_SUCCESS").exists()
        assert recorded() >= before
        assert Output(locate(str(out))).parts().keys() == {record.part for record in ledger_of(out)}

    process = start()
    os.kill(find_child_processes("raylet", parent=process.pid)[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)  # left to itself, Ray would wait for ever
    assert process.returncode == 1
    assert "run the same command to go on" in errors
    assert "Traceback" not in errors
    assert not (out / "_SUCCESS").exists()


def test_an_error_in_a_worker_that_no_other_shard_can_escape_ends_the_run(demo, tmp_path):
    """What only the data show, here Japanese without a model, is one line too, and leaves no Ray behind."""
    command = [sys.executable, "-m", "jobs.cli", "run", str(demo / "job.yaml"), "--set", f"output.path={tmp_path}/out"]
    done = subprocess.run([*command, "--set", "tokenizer.ja=kytea"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("xlm: Japanese text needs a KyTea model, and none is configured: set ")
    assert done.stderr.count("\n") == 1


def test_too_many_rejected_rows(make_job, demo, cluster):
    job = make_job(policy={"max_rejected": 4}, tasks=["feature-extraction"])
    report = run(job, quiet())
    assert report["status"] == "too many rejected rows"
    assert not Path(job.output.path, "_SUCCESS").exists()
    report = run(make_job(policy={"max_rejected": 5}, tasks=["feature-extraction"]), quiet())  # the limit is no result
    assert report["status"] == "complete"
    assert Path(job.output.path, "_SUCCESS").exists()


def test_a_file_that_changed_after_the_plan_fails_its_shards_alone(make_job, demo, tmp_path, cluster, monkeypatch):
    corpus = tmp_path / "corpus"
    shutil.copytree(demo / "corpus", corpus)
    policy = {"duplicate_ids": "ignore", "max_failed_shards": 3}  # with fewer, the run might end before the third fails
    job = make_job(input__path=str(corpus), tasks=["feature-extraction"], policy=policy)
    plan = make_plan(job.input, job.output.rows_per_shard, job.storage)
    shutil.copy(corpus / "part-2.parquet", corpus / "part-1.parquet")  # between plan and read
    monkeypatch.setattr("pipelines.run.prepare.make_plan", lambda *_: plan)
    report = run(job, quiet())
    changed = {row["shard"] for row in plan.shards.to_pylist() if row["file"].endswith("part-1.parquet")}
    assert len(changed) == report["totals"]["failed_shards"] == 3
    assert {failure["shard"] for failure in report["failed"]} == changed
    assert all("changed after the plan was made" in failure["error"] for failure in report["failed"])
    assert {record.shard for record in ledger_of(Path(job.output.path))}.isdisjoint(changed)
    assert report["totals"]["shards"] == len(plan.shards) - 3
    assert not Path(job.output.path, "_SUCCESS").exists()


def test_stages_are_processes_of_their_own(make_job, cluster):
    """Were two of them fused, reading and tokenizing would wait for the model, in its process."""
    job = make_job()
    prepared = prepare(job)
    dataset = build_dataset(prepared.stages, POOLS, prepared.plan.shards, {})
    results = list(stream_results(dataset))
    assert sorted(result.shard for result in results) == sorted(prepared.plan.shards["shard"].to_pylist())
    stages = [line for line in dataset.stats().splitlines() if line.startswith("Operator ")]
    names = [line.split()[2].rstrip(":") for line in stages]
    assert names == ["ReadCorpus", "MapBatches(Tokenize)", "MapBatches(Infer)", "MapBatches(Writer)"]
