"""When a device runs out of memory, forward passes get smaller, and results do not change."""

import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipelines.flow import PlanSource
from pipelines.job.job import Job
from pipelines.rows.shard import Shard
from pipelines.rows.shard_failure import FailureKind
from pipelines.run.prepare import prepare_job
from pipelines.stages.tokenize import Tokenize
from tests.flow.in_process import build_infer
from xlm_core import LanguageModelHead, XLMModel

Row = dict[str, Any]
MAX_LENGTH = 30


@pytest.fixture
def job_over(make_job, checkpoints, tmp_path):
    """Return a function that makes a job over given rows, with a checkpoint that has all heads."""

    def make(rows: list[Row], tasks: list[Any], text: Any = "text", **changes: Any) -> Job:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
        spec = {"path": str(tmp_path / "in.parquet"), "id": "id", "text": text, "lang": "lang"}
        settings = {
            "model": {"checkpoint": str(checkpoints / "lm")},
            "batch__max_tokens": 800,
            "output__rows_per_shard": 20,
        }
        settings |= {"output__rows_per_shard": 20, "tokenizer__max_length": MAX_LENGTH} | changes
        return make_job(input=spec, tasks=tasks, **settings)

    return make


@pytest.fixture(scope="module")
def rows(corpus) -> list[Row]:
    picked = [row for row in corpus if row["lang"] != "ja"][::9][:40]
    return [row | {"other": picked[i - 1]["text"], "marked": f"{row['text'][:50]} *"} for i, row in enumerate(picked)]


def results(job: Job) -> list[Shard]:
    """Run all shards of a job through the stages up to the model, in one model process."""
    prepared = prepare_job(job)
    tokenize, infer = Tokenize(prepared.stages.tokenize, {}), build_infer(prepared.stages)
    blocks = (
        pa.concat_tables(task()) for task in PlanSource(prepared.stages.read, prepared.plan.shards).get_read_tasks(1)
    )
    return [Shard.from_table(infer(tokenize(block.slice(i, 1)))) for block in blocks for i in range(len(block))]


def assert_close(found: Any, expected: Any) -> None:
    """Compare nested values. Floats may differ by the rounding of sums in another order."""
    if isinstance(expected, float):
        assert math.isclose(found, expected, rel_tol=1e-5, abs_tol=2e-5)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_close(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other)
    else:
        assert found == expected


def raise_cpu_error() -> None:
    torch.empty(2**52)  # more than any machine has, so torch raises its own error


def raise_gpu_error() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def raise_cuda_error() -> None:
    raise torch.AcceleratorError("CUDA error: out of memory")


def raise_cublas_error() -> None:
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


class Device:
    """Makes forward passes of the trunk fail.

    Attributes:
        max_tokens: passes with more tokens fail.
        failing_passes: passes with these numbers, from 1, fail.
        fail: raises the error.
        sizes: number of tokens of each pass so far.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.max_tokens, self.failing_passes, self.fail = 10**9, set[int](), raise_cpu_error
        self.sizes = list[int]()
        run = XLMModel.forward_with_plan

        def forward_with_plan(trunk: XLMModel, batch: Any, *args: Any, **options: Any) -> Any:
            self.sizes.append(batch.num_tokens)
            if batch.num_tokens > self.max_tokens or len(self.sizes) in self.failing_passes:
                self.fail()
            return run(trunk, batch, *args, **options)

        monkeypatch.setattr(XLMModel, "forward_with_plan", forward_with_plan)


@pytest.fixture
def device(monkeypatch) -> Device:
    return Device(monkeypatch)


def heads(checkpoints: Path, task: str, *names: str) -> list[Any]:
    return [{task: {"head": str(checkpoints / "heads" / name), "prefix": f"{name}_"}} for name in names]


KINDS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "tasks that share one pass": lambda checkpoints: {
        "tasks": [
            {"feature-extraction": {"layer": [0, -1]}},
            *heads(checkpoints, "text-classification", "topic"),
            *heads(checkpoints, "token-classification", "tags"),
        ]
    },
    "fill-mask": lambda _: {"tasks": [{"fill-mask": {"mask": "*"}}], "text": "marked"},
    "question-answering": lambda checkpoints: {
        "tasks": heads(checkpoints, "question-answering", "spans", "beams"),
        "text": ["marked", "other"],
        "tokenizer__max_length": 60,
    },
    "multiple-choice": lambda checkpoints: {
        "tasks": heads(checkpoints, "multiple-choice", "choice"),
        "text": ["text", "other", "marked"],
    },
    "lm-scoring, masked": lambda _: {"tasks": ["lm-scoring"]},
    "lm-scoring, causal": lambda checkpoints: {"tasks": ["lm-scoring"], "model": causal(checkpoints)},
    "text-generation": lambda checkpoints: {
        "tasks": [{"text-generation": {"max_new_tokens": 8}}, "feature-extraction"],
        "model": causal(checkpoints),
    },
}


def causal(checkpoints: Path) -> Row:
    return {"checkpoint": str(checkpoints / "lm"), "objective": "causal"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_task_retries_with_smaller_passes(job_over, rows, checkpoints, device, kind):
    """Passes of 800, 400 and 200 tokens fail. The second shard starts with the size at which the first succeeded."""
    job = job_over(rows, **KINDS[kind](checkpoints))
    undisturbed = results(job)
    assert max(device.sizes) > 200
    assert [shard.stats.oom_halvings for shard in undisturbed] == [0, 0]
    device.max_tokens, device.sizes[:] = 100, ()
    found = results(job)
    assert [(shard.failure, shard.stats.oom_halvings) for shard in found] == [(None, 3), (None, 0)]
    assert [size for size in device.sizes if size > 100] == device.sizes[:3]
    for shard, other in zip(found, undisturbed, strict=True):
        assert_close(shard.rows.to_pylist(), other.rows.to_pylist())


@pytest.mark.parametrize("fail", [raise_cpu_error, raise_gpu_error, raise_cuda_error, raise_cublas_error])
@pytest.mark.parametrize("invariant", [False, True])
def test_no_pass_is_lost_or_counted_twice_after_an_error_between_passes(
    job_over, rows, checkpoints, device, invariant, fail
):
    """Results that were already collected are dropped. With `invariant`, results are identical to the last bit."""
    job = job_over(
        rows, **KINDS["tasks that share one pass"](checkpoints), batch={"max_tokens": 100, "invariant": invariant}
    )
    undisturbed = results(job)
    device.fail, device.failing_passes, device.sizes[:] = fail, {3}, ()
    found = results(job)
    assert [(shard.failure, shard.stats.oom_halvings) for shard in found] == [(None, 1), (None, 0)]
    for shard, other in zip(found, undisturbed, strict=True):
        assert_close(shard.rows.to_pylist(), other.rows.to_pylist())
        assert not invariant or shard.rows.equals(other.rows)


def test_head_that_runs_out_of_memory_retries_with_smaller_passes(job_over, rows, device, monkeypatch):
    """Scores over the vocabulary are the largest tensors of all."""
    job = job_over(rows, **KINDS["fill-mask"](Path()))
    undisturbed = results(job)
    top_k, sizes = LanguageModelHead.top_k, list[int]()

    def limited(self: LanguageModelHead, hidden_TD: torch.Tensor, k: int) -> Any:
        sizes.append(len(hidden_TD))
        if len(hidden_TD) > 6:
            raise_cpu_error()
        return top_k(self, hidden_TD, k)

    monkeypatch.setattr(LanguageModelHead, "top_k", limited)
    found = results(job)
    assert max(sizes) > 6
    assert found[0].stats.oom_halvings > 0
    for shard, other in zip(found, undisturbed, strict=True):
        assert_close(shard.rows.to_pylist(), other.rows.to_pylist())


def test_tensors_of_the_failed_pass_are_freed_before_the_next(job_over, rows, monkeypatch):
    run, kept, tries = XLMModel.forward_with_plan, list[Any](), [0]

    def forward_with_plan(trunk: XLMModel, batch: Any, *args: Any, **options: Any) -> Any:
        if len(kept) == 3 and tries[0] == 0:
            tries[0] = 1
            raise_cpu_error()
        if tries[0] == 1:
            assert [reference() for reference in kept] == [None] * 3
            tries[0] = 2
        states = run(trunk, batch, *args, **options)
        kept.append(weakref.ref(states[-1]))
        return states

    monkeypatch.setattr(XLMModel, "forward_with_plan", forward_with_plan)
    found = results(job_over(rows, [{"feature-extraction": {"layer": [1, 2]}}], batch__max_tokens=100))
    assert tries == [2]
    assert [shard.failure for shard in found] == [None, None]


def test_sequence_that_does_not_fit_alone_fails_its_shard(job_over, rows, device, tmp_path):
    """The message names the row, its length and the next step. Shards with shorter rows succeed."""
    short = [row | {"text": f"No. {i}"} for i, row in enumerate(rows)]
    short[5] = rows[5] | {"text": rows[5]["text"] * 3}
    device.max_tokens = MAX_LENGTH - 1
    first, second = results(job_over(short, ["feature-extraction"]))
    assert first.failure is not None
    assert first.failure.message == (
        f"out of memory on cpu: the longest sequence, of {tmp_path}/in.parquet row 5, has 30 tokens, and ran alone "
        "(batch.max_tokens is 25 by now); lower tokenizer.max_length, or use a device with more memory"
    )
    assert first.failure.kind == FailureKind.FAILED
    assert len(first.rows) == 0
    assert (second.failure, len(second.rows), second.stats.oom_halvings) == (None, len(rows) // 2, 0)
    assert device.sizes[-1] <= 25


def test_model_that_does_not_fit_fails_its_shards(job_over, rows, monkeypatch):
    monkeypatch.setattr(XLMModel, "from_pretrained", lambda *_, **__: raise_cpu_error())
    for shard in results(job_over(rows, ["feature-extraction"])):
        assert shard.failure is not None
        assert shard.failure.message.startswith("out of memory on cpu: the model does not fit in float32; use a device")
        assert shard.failure.kind == FailureKind.FAILED


def test_other_runtime_errors_are_not_retried(job_over, rows, device):
    def fail() -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)")

    device.failing_passes, device.fail = {1}, fail
    first, second = results(job_over(rows, ["feature-extraction"]))
    assert first.failure is not None
    assert first.failure.message.startswith("RuntimeError at test_memory.py:")
    assert (second.failure, second.stats.oom_halvings) == (None, 0)
