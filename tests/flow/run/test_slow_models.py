"""A slow model or segmenter is not taken for one that hangs, its progress is shown, and reading waits for it."""

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray.data import Dataset

from jobs.commands.output.status import describe_status
from pipelines.checkpoints.loading import load_model, load_tokenizer
from pipelines.corpus import PlannedShard
from pipelines.flow import build_dataset
from pipelines.output.directory import Output
from pipelines.rows import Shard
from pipelines.run.execute import run
from pipelines.stages import Reader
from pipelines.status import read_status
from pipelines.storage import locate
from tests.flow.run.outputs import printed, quiet_console
from tests.real.command_line.test_structured_log import parse_line

NUM_ROWS = 8
TEXTS = [f"Sentence number {i} of a small corpus." for i in range(NUM_ROWS)]
STEP_S = 0.8
LIMIT_S = 5
NUM_SHARDS, FIRST_SHARDS = 120, 20
MAX_AHEAD = NUM_SHARDS // 2  # without limit, it is about 85


@pytest.fixture
def job(make_job, tmp_path: Path):
    """A job of one shard, whose rows run alone, so that the model makes many passes."""
    table = pa.table({"id": [f"r{i}" for i in range(NUM_ROWS)], "text": TEXTS, "lang": ["en"] * NUM_ROWS})
    pq.write_table(table, tmp_path / "in.parquet")
    return make_job(
        input={"path": str(tmp_path / "in.parquet"), "id": "id", "text": "text", "lang": "lang"},
        tasks=["feature-extraction"],
        batch={"invariant": True},
        policy={"shard_timeout_s": LIMIT_S, "max_rejected": 1},
    )


def patch_tokenizer(patch: pytest.MonkeyPatch) -> None:
    """Make the segmenter wait for every text."""

    def load(*arguments):
        tokenizer = load_tokenizer(*arguments)
        segment = tokenizer.segmenters.segment

        def slow_segment(text, lang):
            time.sleep(STEP_S)
            return segment(text, lang)

        tokenizer.segmenters.segment = slow_segment
        return tokenizer

    patch.setattr("pipelines.run.prepare.load_tokenizer", load)


def patch_model(patch: pytest.MonkeyPatch, step_s: float = STEP_S) -> None:
    """Make every pass of the model wait."""

    def load(*arguments):
        model, tasks = load_model(*arguments)
        model.trunk.layers[0].register_forward_pre_hook(lambda *_: time.sleep(step_s))
        return model, tasks

    patch.setattr("pipelines.run.prepare.load_model", load)


def test_shards_that_take_longer_than_the_limit_but_make_progress_are_computed(job, cluster, monkeypatch):
    """Tokenizing and computing this shard takes longer than the limit in each stage, but no single row does."""
    assert NUM_ROWS * STEP_S > LIMIT_S
    patch_tokenizer(monkeypatch)
    patch_model(monkeypatch)
    console = quiet_console()
    report = run(job, console)
    assert (report["status"], report["totals"]["rows_out"]) == ("complete", NUM_ROWS)
    assert "lost" not in printed(console)


def test_progress_moves_while_the_first_shard_is_computed(job, cluster, monkeypatch):
    """In the lines of the run, and in what `xlm status` prints meanwhile."""
    patch_model(monkeypatch)
    monkeypatch.setattr("pipelines.run.progress._LOG_EVERY_S", 0.1)
    output = Output(locate(job.output.path))
    shown, ended = list[str](), threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            if (output.bookkeeping / "run.json").is_file():
                shown.extend(describe_status(read_status(output), "", time.time()))

    thread = threading.Thread(target=watch)
    thread.start()
    console = quiet_console()
    assert run(job, console)["status"] == "complete"
    ended.set()
    thread.join()
    lines = [parse_line(line) for line in printed(console).splitlines() if "msg=progress" in line]
    counts = [(int(line["rows"]), int(line["rows_in_flight"])) for line in lines]
    assert any(done == 0 and 0 < in_flight < NUM_ROWS for done, in_flight in counts), counts
    assert any("rows: 0 of 8" in line and "more in shards in flight" in line for line in shown), shown


def test_reading_stays_a_few_shards_ahead_of_a_slow_model(make_job, cluster, tmp_path: Path, monkeypatch):
    rows = [{"id": f"r{i}", "text": f"Sentence number {i}.", "lang": "en"} for i in range(NUM_SHARDS)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet", row_group_size=FIRST_SHARDS)
    job = make_job(
        input={"path": str(tmp_path / "in.parquet"), "id": "id", "text": "text", "lang": "lang"},
        tasks=["feature-extraction"],
        output={"path": str(tmp_path / "out"), "rows_per_shard": 1},
    )
    parts, ahead = tmp_path / "out" / "data", tmp_path / "ahead"
    ahead.mkdir()

    def num_parts() -> int:
        return len(list(parts.iterdir())) if parts.is_dir() else 0

    class CountingReader(Reader):
        """Notes how many shards are read, but not written. Waits for the first part before it reads more groups."""

        def read(self, planned: Iterable[PlannedShard]) -> Iterator[Shard]:
            for shard in super().read(planned):
                number = len(list(ahead.iterdir()))
                while number >= FIRST_SHARDS and not num_parts():
                    time.sleep(0.05)
                (ahead / shard.id).write_text(str(number + 1 - num_parts()))
                yield shard

    def build(settings: Any, *args: Any, **options: Any) -> Dataset:
        return build_dataset(replace(settings, read=CountingReader(**vars(settings.read))), *args, **options)

    patch_model(monkeypatch, step_s=0.06)
    monkeypatch.setattr("pipelines.run.shard_runner.build_dataset", build)
    assert run(job, quiet_console())["status"] == "complete"
    numbers = [int(file.read_text()) for file in ahead.iterdir()]
    assert len(numbers) == NUM_SHARDS
    assert max(numbers) <= MAX_AHEAD
