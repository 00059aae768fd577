"""A slow model or segmenter is not taken for one that hangs."""

import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.checkpoints.loading import load_model, load_tokenizer
from pipelines.run.execute import run
from tests.flow.run.outputs import printed, quiet_console

NUM_ROWS = 8
TEXTS = [f"Sentence number {i} of a small corpus." for i in range(NUM_ROWS)]
STEP_S = 0.8
LIMIT_S = 5


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


def patch_model(patch: pytest.MonkeyPatch) -> None:
    """Make every pass of the model wait."""

    def load(*arguments):
        model, tasks = load_model(*arguments)
        model.trunk.layers[0].register_forward_pre_hook(lambda *_: time.sleep(STEP_S))
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
