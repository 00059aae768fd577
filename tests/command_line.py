"""Call the command line in the process of the test."""

import signal
from collections.abc import Callable
from typing import NamedTuple

import pytest

from jobs import cli


class Ended(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def xlm(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Call the command line in this process."""

    def xlm(*arguments: str) -> Ended:
        handler = signal.getsignal(signal.SIGTERM)
        try:
            status = cli.main(arguments)
        finally:
            signal.signal(signal.SIGTERM, handler)
        return Ended(status, *capsys.readouterr())

    return xlm
