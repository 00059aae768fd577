"""Estimate how long a job takes, from rows that are spread over its corpus."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipelines.corpus import planned_shards
from pipelines.environment import set_threads_to_wait
from pipelines.errors import FatalError
from pipelines.formatting import format_count
from pipelines.job import FixedLang
from pipelines.rows import INPUT_IDS, LANG_COUNTS, UNKNOWN_LANG, LangCounts, decode_text
from pipelines.run.checks import survey_quickly
from pipelines.run.shard_limits import flops_per_token
from pipelines.stages import Identify, Infer, Node, Pools, Tokenize, allocate_pools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pipelines.corpus import PlannedShard
    from pipelines.rows import Shard
    from pipelines.run.checks import LanguageSurvey, LangUse
    from pipelines.run.prepare import Prepared

_SAMPLE_SHARDS = 32  # few rows of many shards: a corpus may be sorted by language
_READ_ROWS = 2**17  # before the filter
_SAMPLE_ROWS = 4_096  # tokenized; the first half fills the caches of the tokenizer, as in a long run
_MIN_MODEL_S = 2.0
_FIRST_ROWS = 32
_START_S = 6.0  # of Ray and the first processes


@dataclass(frozen=True)
class Estimate:
    """What a job will take.

    Attributes:
        num_sampled, num_sampled_shards: number of rows of the sample, and of the shards that they are from.
        langs: the rows and tokens of the whole corpus by language, extrapolated from the sample.
        are_langs_counted: whether the rows of each language were counted, so that only tokens are extrapolated.
        rejected: the rows by language that will be rejected for it, if they were counted.
        rows_dropped: number of rows of the shards that the filter drops; None if this is not known.
        shard_rows: the least, the median and the greatest number of rows of a shard.
        pools: the processes for which the time is estimated.
        tokenizer_rate, model_rate: tokens per second of one process.
        identifier_rate: the same of a process that identifies languages; None if the job does not.
        is_gpu_assumed: whether the rate of the model is computed from the speed of a GPU instead of measured.
        seconds: by stage: "start", and those with a pool, for all tokens, divided by the number of processes.
        total_s: seconds of the whole job.
    """

    num_sampled: int
    num_sampled_shards: int
    langs: list[LangCounts]
    are_langs_counted: bool
    rejected: dict[str, int]
    rows_dropped: int | None
    shard_rows: tuple[int, int, int]
    pools: Pools
    tokenizer_rate: float
    identifier_rate: float | None
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
        shares = {stage: self.seconds[stage] / self.total_s for stage in self.pools.sizes}
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
    stages = prepared.stages
    pools = allocate_pools([node], prepared.job.compute, detects_lang=stages.identify is not None)
    is_assumed = pools.model_gpus > 0 and not torch.cuda.is_available()
    if is_assumed and tflops is None:
        raise FatalError(
            f"{format_count(num_gpus, 'GPU')}: this machine has none to measure; add --tflops, the speed of the model "
            "on one, in 10^12 operations per second: at most its published rate in half precision"
        )
    shards, kept_share = _read_sample(prepared)
    survey = survey_quickly(prepared.job, prepared.tokenizer, prepared.plan.shards)
    survey = survey if survey is not None and survey.is_exact else None
    identify_s = 0.0
    if stages.identify is not None:
        shards, identify_s = _identify(Identify(stages.identify, {}), shards)
    tokenize = Tokenize(stages.tokenize, {})
    tokenized, tokenizer_rate = _measure_tokenizer(tokenize, shards)
    if is_assumed and tflops is not None:
        model_rate = tflops * 1e12 / flops_per_token(prepared.config)
    else:
        infer = Infer(stages.infer, on_gpu=pools.model_gpus > 0, num_threads=pools.model_threads)
        # On CPUs, as for the tokenizer: it does not depend on what else this machine computes.
        clock = time.perf_counter if pools.model_gpus > 0 else lambda: time.process_time() / pools.model_threads
        model_rate = _measure_model(infer, tokenized, clock)
    num_tokens = sum(shard.stats.tokens for shard in tokenized)
    identifier_rate = max(1, num_tokens) / identify_s if identify_s else None
    found, num_sampled = [lang for shard in tokenized for lang in shard.stats.langs], sum(map(_num_rows, shards))
    if survey is None:
        langs = _extrapolate(found, prepared.plan.num_rows * kept_share / num_sampled)
    else:
        langs = _extrapolate_to(survey, found, _count_sampled(shards, str(prepared.job.input.lang_column), survey))
    num_tokens = sum(lang.tokens for lang in langs)
    seconds = {
        "start": _START_S,
        **({"identify": num_tokens / (identifier_rate * pools.tokenizers)} if identifier_rate else {}),
        "tokenize": num_tokens / (tokenizer_rate * pools.tokenizers),
        "infer": num_tokens / (model_rate * pools.models),
    }
    if pools.model_gpus > 0:
        on_cpus = seconds["tokenize"] + seconds.get("identify", 0.0)
        first_shard = on_cpus / max(len(prepared.plan.shards), pools.tokenizers)
        working = max(seconds[stage] for stage in pools.sizes) + first_shard
    else:  # all processes take turns on the same CPUs
        rates = [tokenizer_rate, *([identifier_rate] if identifier_rate else [])]
        working = sum(num_tokens / (rate * node.cpus) for rate in rates) + seconds["infer"]
    rows = np.sort(prepared.plan.shards["num_rows"].to_numpy())
    spread = (int(rows[0]), int(rows[len(rows) // 2]), int(rows[-1]))
    rows_dropped = 0 if prepared.job.input.filter is None else None
    return Estimate(
        num_sampled=num_sampled,
        num_sampled_shards=len(shards),
        langs=langs,
        are_langs_counted=survey is not None or isinstance(prepared.job.input.lang, FixedLang),
        rejected={str(use.lang): use.num_rows for use in survey.langs if use.rejected} if survey else {},
        rows_dropped=survey.num_dropped if survey else rows_dropped,
        shard_rows=spread,
        pools=pools,
        tokenizer_rate=tokenizer_rate,
        identifier_rate=identifier_rate,
        model_rate=model_rate,
        is_gpu_assumed=is_assumed,
        seconds=seconds,
        total_s=seconds["start"] + working,
    )


def _num_rows(shard: Shard) -> int:
    return len(shard.rows)


def _read_sample(prepared: Prepared) -> tuple[list[Shard], float]:
    """Read rows at random from shards that are spread over the corpus, and the share of rows that the filter keeps."""
    plan, rng = prepared.plan.shards, random.Random(0)
    number = min(len(plan), _SAMPLE_SHARDS)
    chosen = planned_shards(plan.take(pa.array([i * len(plan) // number for i in range(number)])))
    chosen = [_cut(shard, _READ_ROWS // number, rng) for shard in chosen]
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


def _cut(shard: PlannedShard, num_rows: int, rng: random.Random) -> PlannedShard:
    """Return a shard of consecutive rows of a shard."""
    if shard.num_rows <= num_rows:
        return shard
    return shard.cut(rng.randrange(shard.num_rows - num_rows + 1), num_rows)


def _identify(identify: Identify, shards: Sequence[Shard]) -> tuple[list[Shard], float]:
    """Identify the languages of shards, and return them with the seconds of CPU time that this takes."""
    identify.step(shards[0])  # loads the model, and fills the caches of its tokenizer
    started = time.process_time()
    return [identify.step(shard) for shard in shards], time.process_time() - started


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
    return _by_rows(_multiply(lang, counts, factor) for lang, counts in _add_up(langs).items())


def _extrapolate_to(survey: LanguageSurvey, langs: Iterable[LangCounts], num_sampled: Counter[str]) -> list[LangCounts]:
    """Extrapolate the counts of each language of a sample to its rows in the corpus.

    Args:
        survey: the languages of the corpus. Those that are not in the sample get the counts of an average row.
        langs: counts of the sample.
        num_sampled: number of rows of the sample by language, also of rows that were rejected.
    """
    sums, num_rows = _add_up(langs), Counter[str]()
    average = [sum(counts) for counts in zip(*sums.values(), strict=True)] or [0] * len(LANG_COUNTS)
    for use in survey.langs:
        if use.rejected is None:
            num_rows[_counted_as(use)] += use.num_rows
    return _by_rows(
        _multiply(lang, sums[lang], number / num_sampled[lang])
        if lang in sums and num_sampled[lang]
        else _multiply(lang, average, number / max(1, num_sampled.total()))
        for lang, number in num_rows.items()
    )


def _count_sampled(shards: Iterable[Shard], lang_column: str, survey: LanguageSurvey) -> Counter[str]:
    """Count the rows of a sample by language, without those that are rejected for it."""
    names = {use.lang: _counted_as(use) for use in survey.langs if use.rejected is None}
    counts = Counter[str]()
    for shard in shards:
        langs, _ = decode_text(shard.rows.column(lang_column))
        counts.update(names[lang] for lang in langs if lang in names)
    return counts


def _counted_as(use: LangUse) -> str:
    """Return the language under which the tokenize stage counts rows."""
    return UNKNOWN_LANG if use.lang is None or use.checkpoint_lang is None else use.lang


def _add_up(langs: Iterable[LangCounts]) -> dict[str, list[int]]:
    sums: dict[str, list[int]] = {}
    for lang in langs:
        counts = sums.setdefault(lang.lang, [0] * len(LANG_COUNTS))
        for i, name in enumerate(LANG_COUNTS):
            counts[i] += getattr(lang, name)
    return sums


def _multiply(lang: str, counts: Iterable[int], factor: float) -> LangCounts:
    rows, tokens, truncated, unknown = (round(count * factor) for count in counts)
    return LangCounts(lang, rows, tokens, truncated, unknown)


def _by_rows(langs: Iterable[LangCounts]) -> list[LangCounts]:
    return sorted(langs, key=lambda lang: (-lang.rows, lang.lang))
