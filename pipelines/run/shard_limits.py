"""How large a shard may be, so that it is at most about a minute of work for a model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.corpus import ShardLimits

if TYPE_CHECKING:
    from pipelines.job import Job
    from xlm_core import XLMConfig

_MAX_SECONDS = 60
_BYTES_PER_TOKEN = 4  # of UTF-8, typical of all languages
_MIN_TEXT_BYTES = 2**12
_MATRIX = 768  # a product takes some milliseconds


def choose_shard_limits(job: Job, config: XLMConfig) -> ShardLimits:
    """Choose the limits of new shards. Shards that an earlier run planned keep their size.

    On a GPU, no shard of the usual size takes a minute. On a CPU, the limit follows from the size of the checkpoint,
    and from the speed of matrix products on this machine.
    """
    limits = ShardLimits(job.output.rows_per_shard)
    if job.compute.gpus_per_model > 0 and (job.compute.address is not None or any(Path("/dev").glob("nvidia[0-9]*"))):
        return limits
    tokens = _MAX_SECONDS * _measure_flops_per_s() / flops_per_token(config)
    # to a power of two, so that noise in the measurement rarely changes the plan
    text_bytes = 2 ** int(np.log2(max(tokens * _BYTES_PER_TOKEN, _MIN_TEXT_BYTES)))
    return limits._replace(max_text_bytes=min(text_bytes, limits.max_text_bytes))


def flops_per_token(config: XLMConfig) -> float:
    """Return the floating-point operations of the matrix products for one token, without those of attention scores.

    A layer has four square matrices of attention, and two of the feed-forward layer, which is four times as wide.
    """
    return 2.0 * config.n_layers * 12 * config.emb_dim**2


def _measure_flops_per_s() -> float:
    """Measure the floating-point operations per second of a model process that shares this machine with tokenizers."""
    matrix = np.ones((_MATRIX, _MATRIX), np.float32)
    seconds: list[float] = []
    for _ in range(3):
        start = time.perf_counter()
        np.dot(matrix, matrix)
        seconds.append(time.perf_counter() - start)
    return _MATRIX**3 * 2 / min(seconds) / 2
