"""Set environment variables that libraries read; all threads of a process share them."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

_lock = threading.Lock()


def set_threads_to_wait() -> None:
    """Let threads of a model that wait for others leave their CPU to other processes. Call it before torch is imported.

    OpenMP reads the variable once. By default, its threads wait in a loop for up to 200 ms.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def environment(**variables: str | None) -> Generator[None]:
    """Set environment variables for the duration of a `with` block. Variables given as None are not changed.

    Only one thread at a time can be in such a block; others wait.
    """
    with _lock:
        before = {name: os.environ.get(name) for name, value in variables.items() if value is not None}
        os.environ.update({name: value for name, value in variables.items() if value is not None})
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
