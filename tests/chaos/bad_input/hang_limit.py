"""An end to what hangs, also where it waits for the kernel."""

import contextlib
import signal
from collections.abc import Generator

MAX_SECONDS = 120  # a FIFO, or a link to itself, must not hang; a busy machine may take its time


class Hangs(BaseException):
    """Input that nothing comes of; stages turn an Exception into an error of the shard."""


@contextlib.contextmanager
def in_time() -> Generator[None]:
    """Raise `Hangs` if it takes longer than any input should."""

    def give_up(*_: object) -> None:
        raise Hangs(f"it was not over after {MAX_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(MAX_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
