"""Timing of several functions, alternately in the same run, so that all see the same load of the machine."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Times:
    """The seconds of each function in each round."""

    seconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        """Return the median seconds of a function. Compare functions by `ratio`, not by this."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, to: str) -> float:
        """Return the median, over the rounds, of one function's time divided by another's."""
        return statistics.median(a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True))

    def speedup(self, name: str, over: str) -> str:
        """Return how many times as fast a function is as another, such as "6.0 x"."""
        return f"{self.ratio(over, name):.2g} x"


def time_alternately(
    functions: dict[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    *,
    warm_up: bool = True,
) -> Times:
    """Time all functions in each round.

    Args:
        functions: by name.
        rounds: how often each is timed.
        clock: `time.process_time` for functions with a single thread, because other processes do not change it.
        warm_up: whether all run once before. Functions that start a program need none.
    """
    times = Times({name: [] for name in functions})
    for number in range(-warm_up, rounds):
        for name, function in functions.items():
            began = clock()
            function()
            if number >= 0:
                times.seconds[name].append(clock() - began)
    return times
