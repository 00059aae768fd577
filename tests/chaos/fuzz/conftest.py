import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Create a directory. Each example overwrites the files in it."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
