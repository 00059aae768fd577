"""Recognise a signal that was sent again only because of how schedulers send signals."""

import math
import time

# `timeout` sends SIGTERM to its child and then to the process group of both. Slurm may signal a job more than once too.
_SAME_SIGNAL_WITHIN_S = 1.0


class Signals:
    """The signals that a process has received."""

    def __init__(self) -> None:
        self._last_s = -math.inf

    def is_repeated(self) -> bool:
        """Register a signal, and return whether another one was received less than a second before."""
        before_s, self._last_s = self._last_s, time.monotonic()
        return self._last_s - before_s < _SAME_SIGNAL_WITHIN_S
