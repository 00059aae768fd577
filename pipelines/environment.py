"""Variables of the environment that libraries read, and of which a process has one set for all its threads."""

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
    """Set environment variables for the length of a `with` block; those that are None stay as they are."""
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
