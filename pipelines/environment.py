"""Set environment variables that libraries read; all threads of a process share them."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

_lock = threading.Lock()


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
