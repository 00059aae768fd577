"""Rows that crash their worker, or make it hang, are found and rejected, and no other row is affected."""

import logging
import os
import re
import signal
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.checkpoints.loading import load_model, load_tokenizer
from pipelines.corpus.planned_shard import plan_table, planned_shards
from pipelines.errors import ClusterError
from pipelines.flow import build_dataset, stream_results
from pipelines.run.crash_isolation import find_crashing_rows
from pipelines.run.execute import run
from pipelines.run.prepare import prepare_job
from pipelines.stages import Pools, discard
from tests.flow.in_process import read_output, read_rejected, run_stages, without_ray
from tests.flow.run.outputs import printed, quiet_console
from tests.pipelines.corpus.shards import one_member

NUM_ROWS = 32
LIMIT_S = 6  # shorter than by default, but long enough for other rows on a busy machine
HANGS = (
    rf"no progress for {LIMIT_S} s in the tokenize stage \(at test_crash_isolation.py:\d+\), "
    r"the limit of policy\.shard_timeout_s"
)
TEXTS = [f"Sentence number {i} of a small corpus." for i in range(NUM_ROWS)]


def plan_of(sizes: list[int]) -> pa.Table:
    """Plan shards of these numbers of rows, all in one file."""
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return plan_table(
        one_member(f"s{i}", size, file_row=start) for i, (start, size) in enumerate(zip(starts, sizes, strict=True))
    )


class CrashingProbe:
    """Reports slices that contain one of the given rows, by their numbers in the file, as crashed."""

    def __init__(self, rows: set[int]):
        self.rows, self.num_crashes, self.num_rounds = rows, 0, 0

    def __call__(self, slices: pa.Table) -> set[str]:
        self.num_rounds += 1
        covered = {
            shard.id: range(shard.members[0].file_row, shard.members[-1].end_row) for shard in planned_shards(slices)
        }
        assert sum(map(len, covered.values())) == len(set().union(*covered.values()))  # slices do not overlap
        crashed = {shard for shard, rows in covered.items() if not self.rows.isdisjoint(rows)}
        self.num_crashes += len(crashed)
        return crashed


def crashing_rows(shards: pa.Table, probe: CrashingProbe) -> dict[str, list[int]]:
    """Return the rows that are found, by their numbers in the file."""
    starts = {shard.id: shard.members[0].file_row for shard in planned_shards(shards)}
    return {
        shard: [starts[shard] + position for position in rows]
        for shard, rows in find_crashing_rows(shards, probe).items()
    }


@given(st.lists(st.integers(1, 300), min_size=1, max_size=4), st.data())
def test_exactly_the_crashing_rows_are_found(sizes, data):
    total = sum(sizes)
    crashing = data.draw(st.sets(st.integers(0, total - 1), max_size=12))
    found = crashing_rows(plan_of(sizes), CrashingProbe(crashing))
    assert sorted(row for rows in found.values() for row in rows) == sorted(crashing)
    assert all(rows for rows in found.values())


def test_search_crashes_few_workers():
    probe = CrashingProbe({12_345})
    assert crashing_rows(plan_of([16_384]), probe) == {"s0": [12_345]}
    assert probe.num_rounds == probe.num_crashes == 5


def test_no_row_is_rejected_if_most_of_a_shard_crashes():
    """The cause is then the file or the machine. The rows of other shards are still found."""
    probe = CrashingProbe({*range(1000), 1500})
    assert crashing_rows(plan_of([1000, 1000]), probe) == {"s1": [1500]}


def test_search_of_a_shard_that_crashes_whatever_its_rows_ends_after_one_round():
    probe = CrashingProbe(set(range(16_384)))
    assert find_crashing_rows(plan_of([16_384]), probe) == {}
    assert (probe.num_rounds, probe.num_crashes) == (1, 11)


def test_no_row_is_rejected_if_no_slice_crashes():
    assert find_crashing_rows(plan_of([1000]), lambda slices: set()) == {}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two row groups, each with two shards of eight rows."""
    table = pa.table({"id": [f"r{i}" for i in range(NUM_ROWS)], "text": TEXTS, "lang": ["en"] * NUM_ROWS})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=16)
    return tmp_path / "in.parquet"


@pytest.fixture
def job(make_job, corpus):
    return make_job(
        input={"path": str(corpus), "id": "id", "text": "text", "lang": "lang"},
        tasks=["feature-extraction"],
        output__rows_per_shard=8,
        batch={"invariant": True},  # so that a row's bytes do not depend on the other rows
        policy={"max_rejected": 4, "shard_timeout_s": LIMIT_S},
    )


@pytest.fixture
def expected(make_job, job, tmp_path) -> pa.Table:
    """The results of all rows when none of them crashes."""
    run_stages(job.model_copy(update={"output": job.output.model_copy(update={"path": str(tmp_path / "expected")})}))
    return read_output(str(tmp_path / "expected"))


def check_rejected(job, report, causes: dict[int, str], expected: pa.Table) -> None:
    """Check that exactly these rows are rejected, for these causes, and all others have the expected results."""
    assert report["status"] == "complete"
    assert Path(job.output.path, "_SUCCESS").exists()
    assert read_output(job.output.path).equals(expected.filter(pa.array([i not in causes for i in range(NUM_ROWS)])))
    rejected = sorted(read_rejected(job.output.path), key=lambda row: row["row"])
    found = [(row["id"], row["row"], row["reason"]) for row in rejected]
    assert found == [(f"r{i}", i, "killed_worker") for i in sorted(causes)]
    for row in rejected:
        assert re.fullmatch(f"{causes[row['row']]}, each time a worker computed this row", row["detail"])
    assert "Sentence" not in str(rejected)


def patch_loading(job, patch, crash_tokenizer: list[int], hang: list[int], crash_model: list[int]) -> None:
    """Make rows crash or hang their tokenizer process, or crash their model process."""

    def contains(texts, rows):
        return any(f"number {row} " in text for text in texts for row in rows)

    def load_crashing_tokenizer(*arguments):
        tokenizer = load_tokenizer(*arguments)
        encode = tokenizer.encode_batch

        def encode_batch(texts, *args, **kwargs):
            if contains(texts, crash_tokenizer):
                os.kill(os.getpid(), signal.SIGKILL)
            if contains(texts, hang):
                time.sleep(1000)
            return encode(texts, *args, **kwargs)

        tokenizer.encode_batch = encode_batch
        return tokenizer

    tokenizer = prepare_job(job).stages.tokenize.load()
    crashing_ids = [tokenizer.encode_batch([TEXTS[row]], ["en"]).input_ids.tolist() for row in crash_model]

    def load_crashing_model(*arguments):
        model, tasks = load_model(*arguments)
        forward = model.trunk.forward_packed

        def forward_packed(batch, **kwargs):
            if batch.input_ids.tolist() in crashing_ids:
                os.kill(os.getpid(), signal.SIGKILL)
            return forward(batch, **kwargs)

        model.trunk.forward_packed = forward_packed
        return model, tasks

    patch.setattr("pipelines.run.prepare.load_tokenizer", load_crashing_tokenizer)
    patch.setattr("pipelines.run.prepare.load_model", load_crashing_model)


@pytest.mark.slow
def test_run_ends_if_model_processes_crash_whatever_the_rows(job, cluster, monkeypatch, tmp_path):
    """Without the limit, each shard crashes its process six times, and then each of its slices three times."""
    starts = tmp_path / "starts"

    def load_crashing_model(*arguments):
        with starts.open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr("pipelines.run.prepare.load_model", load_crashing_model)
    monkeypatch.setattr("pipelines.flow._MIN_STARTS", 4)
    # 5 if the pool was replaced just after it had started a process, which did not load the model.
    with pytest.raises(
        ClusterError, match=r"model processes die .* whatever rows they compute: [45] have started, and none"
    ):
        run(job, quiet_console())
    assert starts.read_text() == "xxxx"
    assert not list(Path(job.output.path).glob("**/rejected/*"))


@pytest.mark.parametrize(
    ("crash_tokenizer", "hang", "crash_model"),
    [pytest.param([5], [29], [], id="two"), pytest.param([7, 8], [29], [19], id="four", marks=pytest.mark.slow)],
)
def test_only_rows_that_crash_or_hang_their_worker_are_rejected(
    job, expected, cluster, monkeypatch, caplog, crash_tokenizer, hang, crash_model
):
    caplog.set_level(logging.DEBUG, "xlm")
    causes = dict.fromkeys(crash_tokenizer + crash_model, "the worker died") | dict.fromkeys(hang, HANGS)
    console = quiet_console()
    with pytest.MonkeyPatch.context() as patch:
        patch_loading(job, patch, crash_tokenizer, hang, crash_model)
        report = run(job, console)
    check_rejected(job, report, causes, expected)
    assert any(re.search(HANGS, line) for line in printed(console).splitlines())
    assert "searching for the rows that crash it" in printed(console)
    assert re.search(r": stalled: .*\n(?:.*\n)+? .* in encode_batch\n", caplog.text)
    # The rows do not crash any more, as on a larger machine, but only --retry-rejected computes them again.
    assert run(job, console)["totals"]["rows_rejected"] == len(causes)
    without_ray(monkeypatch)
    check_rejected(job, run(job, console, ["killed_worker"]), {}, expected)


def test_row_groups_are_read_once_although_each_shard_is_alone_in_its_block(job, cluster):
    prepared = prepare_job(job)
    pools = Pools(tokenizers=1, models=1, tokenizer_cpus=0.5, model_cpus=1.0, model_gpus=0.0, model_threads=1)
    dataset = build_dataset(prepared.stages, pools, prepared.plan.shards, {}, isolate=True, write=discard)
    assert len({result.shard for result in stream_results(dataset)}) == 4
    for operator, num_tasks in ("ReadCorpus", 2), ("MapBatches(Infer)", 4):
        assert f"{operator}: {num_tasks} tasks executed, 4 blocks produced" in dataset.stats()
