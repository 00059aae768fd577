"""Estimate how long a job takes, from rows that are spread over its corpus."""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipelines.corpus import planned_shards
from pipelines.environment import set_threads_to_wait
from pipelines.errors import FatalError
from pipelines.formatting import format_count
from pipelines.rows import INPUT_IDS, LANG_COUNTS, LangCounts
from pipelines.run.shard_limits import flops_per_token
from pipelines.stages import Infer, Node, Pools, Tokenize, allocate_pools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pipelines.rows import Shard
    from pipelines.run.prepare import Prepared

_SAMPLE_SHARDS = 8
_SAMPLE_ROWS = 4_096  # tokenized; the first half fills the caches of the tokenizer, as in a long run
_MIN_MODEL_S = 2.0
_FIRST_ROWS = 32
_START_S = 6.0  # of Ray and the first processes


@dataclass(frozen=True)
class Estimate:
    """What a job will take.

    Attributes:
        num_sampled: number of rows of the sample.
        langs: the rows and tokens of the whole corpus by language, extrapolated from the sample.
        shard_rows: the least, the median and the greatest number of rows of a shard.
        pools: the processes for which the time is estimated.
        tokenizer_rate, model_rate: tokens per second of one process.
        is_gpu_assumed: whether the rate of the model is computed from the speed of a GPU instead of measured.
        seconds: by stage: "start", "tokenize" and "infer"; the latter two are for all tokens, divided by the number of
            processes.
        total_s: seconds of the whole job.
    """

    num_sampled: int
    langs: list[LangCounts]
    shard_rows: tuple[int, int, int]
    pools: Pools
    tokenizer_rate: float
    model_rate: float
    is_gpu_assumed: bool
    seconds: dict[str, float]
    total_s: float

    @property
    def tokens(self) -> int:
        """Number of tokens fed to the model."""
        return sum(lang.tokens for lang in self.langs)

    @property
    def busy(self) -> dict[str, float]:
        """The share of the time in which the workers of each pool are busy, the largest share first."""
        shares = {stage: self.seconds[stage] / self.total_s for stage in ("tokenize", "infer")}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))


def estimate_job(prepared: Prepared, cpus: int | None, gpus: int | None, tflops: float | None) -> Estimate:
    """Estimate how long a job takes on this machine, or on one with other resources.

    Args:
        prepared: the job.
        cpus, gpus: number of CPUs and GPUs of the cluster; None for those of this machine.
        tflops: speed of the model on a GPU, in 10^12 operations per second, if this machine has none.

    Raises:
        FatalError: a stage fails, the filter drops every row of the sample, or the speed of a GPU is unknown.
    """
    set_threads_to_wait()
    import torch  # here, because runs do not estimate

    num_gpus = torch.cuda.device_count() if gpus is None else gpus
    node = Node(float(cpus or len(os.sched_getaffinity(0))), float(num_gpus))
    pools = allocate_pools([node], prepared.job.compute)
    is_assumed = pools.model_gpus > 0 and not torch.cuda.is_available()
    if is_assumed and tflops is None:
        raise FatalError(
            f"{format_count(num_gpus, 'GPU')}: this machine has none to measure; add --tflops, the speed of the model "
            "on one, in 10^12 operations per second: at most its published rate in half precision"
        )
    stages = prepared.stages
    shards, kept_share = _read_sample(prepared)
    tokenize = Tokenize(stages.tokenize, {})
    tokenized, tokenizer_rate = _measure_tokenizer(tokenize, shards)
    if is_assumed and tflops is not None:
        model_rate = tflops * 1e12 / flops_per_token(prepared.config)
    else:
        infer = Infer(stages.infer, on_gpu=pools.model_gpus > 0, num_threads=pools.model_threads)
        # On CPUs, as for the tokenizer: it does not depend on what else this machine computes.
        clock = time.perf_counter if pools.model_gpus > 0 else lambda: time.process_time() / pools.model_threads
        model_rate = _measure_model(infer, tokenized, clock)
    scale = prepared.plan.num_rows * kept_share / max(1, sum(len(shard.rows) for shard in shards))
    langs = _extrapolate((lang for shard in tokenized for lang in shard.stats.langs), scale)
    num_tokens = sum(lang.tokens for lang in langs)
    seconds = {
        "start": _START_S,
        "tokenize": num_tokens / (tokenizer_rate * pools.tokenizers),
        "infer": num_tokens / (model_rate * pools.models),
    }
    if pools.model_gpus > 0:
        first_shard = seconds["tokenize"] / max(len(prepared.plan.shards), pools.tokenizers)
        working = max(seconds["tokenize"], seconds["infer"]) + first_shard
    else:  # tokenizers and models take turns on the same CPUs
        working = num_tokens / (tokenizer_rate * node.cpus) + seconds["infer"]
    rows = np.sort(prepared.plan.shards["num_rows"].to_numpy())
    spread = (int(rows[0]), int(rows[len(rows) // 2]), int(rows[-1]))
    num_sampled = sum(len(shard.rows) for shard in shards)
    return Estimate(
        num_sampled, langs, spread, pools, tokenizer_rate, model_rate, is_assumed, seconds, seconds["start"] + working
    )


def _read_sample(prepared: Prepared) -> tuple[list[Shard], float]:
    """Read rows at random from shards that are spread over the corpus, and the share of rows that the filter keeps."""
    plan, rng = prepared.plan.shards, random.Random(0)
    number = min(len(plan), _SAMPLE_SHARDS)
    chosen = planned_shards(plan.take(pa.array([i * len(plan) // number for i in range(number)])))
    found: list[Shard] = []
    num_kept = 0
    for shard in prepared.stages.read.read(chosen):
        if shard.failure is not None:
            raise FatalError(shard.failure.message)
        num_kept += len(shard.rows)
        positions = sorted(rng.sample(range(len(shard.rows)), min(len(shard.rows), _SAMPLE_ROWS // number)))
        rows = shard.rows.take(pa.array(positions, pa.int64()))
        found.append(replace(shard, rows=rows, stats=replace(shard.stats, rows_in=len(rows))))
    if not num_kept:
        raise FatalError("input.filter drops every row of the shards that were read; correct it")
    return found, num_kept / sum(shard.num_rows for shard in chosen)


def _measure_tokenizer(tokenize: Tokenize, shards: Sequence[Shard]) -> tuple[list[Shard], float]:
    """Tokenize shards, and return them with the tokens per second of CPU time on the second half of their rows."""
    halves: list[list[Shard]] = [[], []]
    for shard in shards:
        middle = len(shard.rows) // 2
        for half, rows in zip(halves, (shard.rows.slice(0, middle), shard.rows.slice(middle)), strict=True):
            half.append(replace(shard, rows=rows, stats=replace(shard.stats, rows_in=len(rows))))
    first = [tokenize.step(shard) for shard in halves[0]]
    started = time.process_time()
    second = [tokenize.step(shard) for shard in halves[1]]
    seconds = max(time.process_time() - started, 1e-6)
    return [*first, *second], max(1, sum(shard.stats.tokens for shard in second)) / seconds


def _measure_model(infer: Infer, shards: Sequence[Shard], clock: Callable[[], float]) -> float:
    """Return the tokens per second of a model process, on ever more rows at once until they take long enough.

    In few rows, most batches have a new size, for which kernels are prepared first.
    """
    rows = pa.Table.from_batches([shard.rows for shard in shards]).combine_chunks().to_batches()[0]
    rows = rows.take(pa.array(random.Random(0).sample(range(len(rows)), len(rows)), pa.int64()))
    first, size, rate = 0, _FIRST_ROWS, 1.0
    while first < len(rows):
        chosen = rows.slice(first, size)
        num_tokens = len(chosen.column(INPUT_IDS).flatten())
        started = clock()
        infer.step(replace(shards[0], rows=chosen))
        seconds = clock() - started
        if len(chosen) == size or first == 0:
            rate = num_tokens / max(seconds, 1e-6)
        if seconds > _MIN_MODEL_S and first > 0:
            break
        first, size = first + size, 2 * size
    return rate


def _extrapolate(langs: Iterable[LangCounts], factor: float) -> list[LangCounts]:
    """Add up the counts of each language and multiply them; the language with the most rows comes first."""
    sums: dict[str, list[int]] = {}
    for lang in langs:
        counts = sums.setdefault(lang.lang, [0] * len(LANG_COUNTS))
        for i, name in enumerate(LANG_COUNTS):
            counts[i] += getattr(lang, name)
    found: list[LangCounts] = []
    for lang, counts in sums.items():
        rows, tokens, truncated, unknown = (round(count * factor) for count in counts)
        found.append(LangCounts(lang, rows, tokens, truncated, unknown))
    return sorted(found, key=lambda lang: (-lang.rows, lang.lang))
