"""A last word for a run whose process ends without one."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

_WITNESS = "import sys; sys.stdin.buffer.read(1) or print(sys.argv[1], file=sys.stderr)"


@contextmanager
def last_word(line: str) -> Generator[None]:
    """Have a line said on stderr if this process ends within the `with` block.

    Ray's core ends the process of a driver whose raylet or GCS server it has lost, and the kernel kills one that takes
    all memory: neither leaves it a word. A process of our own waits for ours to end. It is out of reach of a terminal's
    signals; as the first process of a container, ours takes it with it.
    """
    command = [sys.executable, "-ISc", _WITNESS, line]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True) as witness:
        try:
            yield
        finally:
            witness.communicate(b".")
