"""Rows that kill the process that computes them, or hang in it: found, rejected, and no other row suffers."""

import io
import os
import signal
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipelines.checkpoints.loading import load_model, load_tokenizer
from pipelines.corpus.plan import PLAN
from pipelines.run.crash_isolation import find_crashing_rows
from pipelines.run.execute import run
from pipelines.run.prepare import prepare
from tests.flow.in_process import read_output, read_rejected, run_stages


def plan_of(sizes: list[int]) -> pa.Table:
    rows, first = [], 0
    for i, size in enumerate(sizes):
        rows.append(dict.fromkeys(PLAN.names, 0) | {"shard": f"s{i}", "file": "f", "num_rows": size, "file_row": first})
        first += size
    return pa.Table.from_pylist(rows, PLAN)


class Deadly:
    """Pieces die that hold one of these rows, by their numbers in the file."""

    def __init__(self, rows: set[int]):
        self.rows, self.deaths, self.rounds = rows, 0, 0

    def __call__(self, pieces: pa.Table) -> set[str]:
        self.rounds += 1
        covered = [range(p["file_row"], p["file_row"] + p["num_rows"]) for p in pieces.to_pylist()]
        assert sum(map(len, covered)) == len(set().union(*covered))
        dead = {
            piece["shard"]
            for piece, rows in zip(pieces.to_pylist(), covered, strict=True)
            if not self.rows.isdisjoint(rows)
        }
        self.deaths += len(dead)
        return dead


@given(st.lists(st.integers(1, 300), min_size=1, max_size=4), st.data())
def test_every_row_that_kills_is_found_and_no_other(sizes, data):
    total = sum(sizes)
    killers = data.draw(st.sets(st.integers(0, total - 1), max_size=12))
    found = find_crashing_rows(plan_of(sizes), Deadly(killers))
    assert sorted(row for rows in found.values() for row in rows) == sorted(killers)
    assert all(rows for rows in found.values())


def test_a_search_costs_few_processes():
    probe = Deadly({12_345})
    assert find_crashing_rows(plan_of([16_384]), probe) == {"s0": [12_345]}
    assert probe.rounds == probe.deaths == 5


def test_where_everything_dies_no_row_is_blamed():
    """Then it is the file or the machine; another shard's row is found all the same."""
    probe = Deadly({*range(1000), 1500})
    assert find_crashing_rows(plan_of([1000, 1000]), probe) == {"s1": [1500]}
    assert find_crashing_rows(plan_of([1000]), lambda pieces: set()) == {}


NUM_ROWS = 32
TEXTS = [f"Sentence number {i} of a small corpus." for i in range(NUM_ROWS)]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two row groups, each of two shards of eight rows."""
    table = pa.table({"id": [f"r{i}" for i in range(NUM_ROWS)], "text": TEXTS, "lang": ["en"] * NUM_ROWS})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=16)
    return tmp_path / "in.parquet"


@pytest.fixture
def job(make_job, corpus):
    return make_job(
        input={"path": str(corpus), "id": "id", "text": "text", "lang": "lang"},
        tasks=["feature-extraction"],
        output__rows_per_shard=8,
        batch={"invariant": True},  # so that a row's bytes do not depend on who else is there
        policy={"shard_timeout_s": 5, "max_rejected": 3},
    )


@pytest.fixture
def plain(make_job, job, tmp_path) -> pa.Table:
    """The results of all rows, where none kills."""
    run_stages(job.model_copy(update={"output": job.output.model_copy(update={"path": str(tmp_path / "plain")})}))
    return read_output(str(tmp_path / "plain"))


def check_only(job, report, killers: list[int], plain: pa.Table) -> None:
    """Every row is in the output as it is without the killers there, but they, which are rejected with their reason."""
    assert report["status"] == "complete"
    assert Path(job.output.path, "_SUCCESS").exists()
    assert read_output(job.output.path).equals(plain.filter(pa.array([i not in killers for i in range(NUM_ROWS)])))
    rejected = sorted(read_rejected(job.output.path), key=lambda row: row["row"])
    assert [(row["id"], row["row"], row["reason"]) for row in rejected] == [
        (f"r{i}", i, "killed_worker") for i in killers
    ]
    assert "Sentence" not in str(rejected)


def fatal_rows(job, patch, killed: list[int], hung: list[int], killed_model: list[int]) -> None:
    """Make rows kill the process where texts are cut, hang in it, or kill it where the model runs."""

    def holds(texts, rows):
        return any(f"number {row} " in text for text in texts for row in rows)

    def deadly_tokenizer(*arguments):
        tokenizer = load_tokenizer(*arguments)
        encode = tokenizer.encode_batch

        def encode_batch(texts, *args, **kwargs):
            if holds(texts, killed):
                os.kill(os.getpid(), signal.SIGKILL)
            if holds(texts, hung):
                time.sleep(1000)
            return encode(texts, *args, **kwargs)

        tokenizer.encode_batch = encode_batch
        return tokenizer

    tokenizer = prepare(job).stages.tokenize.load()
    deadly_ids = [tokenizer.encode_batch([TEXTS[row]], ["en"]).input_ids.tolist() for row in killed_model]

    def deadly_model(*arguments):
        model, tasks = load_model(*arguments)
        forward = model.trunk.forward_packed

        def forward_packed(batch, **kwargs):
            if batch.input_ids.tolist() in deadly_ids:
                os.kill(os.getpid(), signal.SIGKILL)
            return forward(batch, **kwargs)

        model.trunk.forward_packed = forward_packed
        return model, tasks

    patch.setattr("pipelines.run.prepare.load_tokenizer", deadly_tokenizer)
    patch.setattr("pipelines.run.prepare.load_model", deadly_model)


@pytest.mark.parametrize(
    ("killed", "hung", "killed_model"),
    [pytest.param([5], [], [], id="one"), pytest.param([7, 8], [29], [19], id="several", marks=pytest.mark.slow)],
)
def test_rows_that_kill_their_process_cost_only_themselves(job, plain, cluster, killed, hung, killed_model):
    job = job.model_copy(update={"policy": job.policy.model_copy(update={"max_rejected": 4})})
    console = Console(file=io.StringIO(), width=200)
    with pytest.MonkeyPatch.context() as patch:
        fatal_rows(job, patch, killed, hung, killed_model)
        report = run(job, console)
    check_only(job, report, sorted(killed + hung + killed_model), plain)
    assert "searching for the rows that crash it" in console.file.getvalue()
    # where the row does no harm any more, as on a larger machine: only --retry-rejected tries it again
    assert run(job, console)["totals"]["rows_rejected"] == len(killed + hung + killed_model)
    check_only(job, run(job, console, ["killed_worker"]), [], plain)
