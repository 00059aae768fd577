"""One Ray head for all tests of submission, and jobs that are submitted to it."""

import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.command_line import Ended, xlm
from tests.jobs.submission.fake_head import FakeHead
from tests.jobs.submission.ray_head import RayHead

__all__ = ["fake_head", "head", "job", "submit", "xlm"]


@pytest.fixture(scope="session")
def head() -> Iterator[RayHead]:
    folder = Path(tempfile.mkdtemp(prefix="xlm-head-", dir="/tmp"))  # Ray's sockets need a short path
    head = RayHead(folder)
    try:
        head.wait_until_ready()
        yield head
    finally:
        left = head.stop()
        shutil.rmtree(folder, ignore_errors=True)
    assert left == []


@pytest.fixture
def submit(head: RayHead, xlm: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Call `xlm submit` with the address and the token of the head."""
    monkeypatch.setenv("RAY_JOB_HEADERS", json.dumps(head.headers))
    return lambda *arguments: xlm("submit", *arguments, "--address", head.address)


@pytest.fixture
def fake_head() -> Iterator[FakeHead]:
    with FakeHead() as head:
        thread = threading.Thread(target=head.serve_forever)
        thread.start()
        yield head
        head.shutdown()
        thread.join()


@pytest.fixture
def job(demo: Path) -> str:
    return str(demo / "small.yaml")
