from pathlib import Path

import pytest

from xlm_core import XLM


@pytest.fixture(scope="session")
def xlm(checkpoints: Path) -> XLM:
    return XLM.from_pretrained(checkpoints / "lm")


@pytest.fixture(scope="session")
def heads(checkpoints: Path) -> Path:
    return checkpoints / "heads"
