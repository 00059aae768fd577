"""Timing of two implementations, alternately in the same run, so that both see the same load of the machine."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Ratio:
    """Time of ours divided by the time of the reference: median, minimum and maximum over the rounds."""

    median: float
    low: float
    high: float
    ours_s: float  # median time of ours


def compare_times(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> Ratio:
    """Run both functions once as a warm-up, then time them in each round."""
    spent = [(_seconds(ours), _seconds(theirs)) for _ in range(rounds + 1)][1:]
    ratios = sorted(ours_s / theirs_s for ours_s, theirs_s in spent)
    return Ratio(ratios[rounds // 2], ratios[0], ratios[-1], sorted(ours_s for ours_s, _ in spent)[rounds // 2])


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start
