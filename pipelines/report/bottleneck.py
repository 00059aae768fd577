"""What limited the speed of a run, and what would make it faster."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pipelines.formatting import format_count, format_percent

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROCESSES = {"identify": "identifier", "tokenize": "tokenizer", "infer": "model"}
_MIN_BUSY = 0.5  # of a bottleneck
_MAX_FACTOR = 8.0  # by which more workers are suggested; beyond it, the estimate is too rough


def describe_bottleneck(busy: Mapping[str, float], workers: Mapping[str, int]) -> str:
    """Describe in a line which processes limited the speed; empty if that is not known.

    Args:
        busy: the share of the run's time in which the workers of each pool were busy, the largest share first.
        workers: number of workers of each pool.
    """
    if not busy:
        return ""
    first, share = next(iter(busy.items()))
    shares = ", ".join(f"{_PROCESSES[stage]}s {format_percent(share, 1)}" for stage, share in busy.items())
    if share < _MIN_BUSY:
        names = " nor ".join(f"{name}s" for stage, name in _PROCESSES.items() if stage in busy)
        return f"neither {names} limited the speed, but start-up or storage (busy: {shares})"
    if first == "infer":
        return f"model-bound: faster devices or more of them would help (busy: {shares})"
    # As many tokenizers or identifiers as keep the models busy all the time, at the rate of this run.
    more = math.ceil(workers[first] * min(share / max(busy.get("infer", 0.0), 0.01), _MAX_FACTOR)) - workers[first]
    return f"{_PROCESSES[first]}-bound: {format_count(max(more, 1), 'more CPU worker')} would help (busy: {shares})"
