"""The driver's side of a graceful stop, with keys in memory. Whole runs are in tests/real/runs/test_signals.py."""

import threading

import pytest

from pipelines.errors import RetryableError
from pipelines.run import graceful_stop as module
from pipelines.run.graceful_stop import Stop, graceful_stop


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    keys: set[str] = set()
    monkeypatch.setattr(module, "put_key", keys.add)
    monkeypatch.setattr(module, "list_keys", lambda prefix: [key for key in keys if key.startswith(prefix)])
    monkeypatch.setattr(module, "delete_keys", lambda _: keys.clear())
    monkeypatch.setattr(module, "stop_key", lambda: "stop")
    monkeypatch.setattr(module, "in_flight_key", lambda: "begun/")
    monkeypatch.setattr(module, "run_prefix", lambda: "")
    return keys


def test_stop_commits_at_once_what_has_returned(keys):
    """The process may be killed long before the grace period is over."""
    stop, committed = Stop(), threading.Event()
    with graceful_stop(stop, 60, lambda _: None, committed.set):
        stop.request("terminated")
        assert committed.wait(30)
        assert keys == {"stop"}
    assert keys == set()


def test_commit_that_fails_does_not_end_the_grace_period(keys):
    def commit() -> None:
        tried.set()
        raise RetryableError("the store does not answer")

    keys.add("begun/a")
    stop, tried = Stop(), threading.Event()
    with graceful_stop(stop, 60, lambda _: None, commit):
        stop.request("terminated")
        assert tried.wait(30)
        assert not stop.is_done(set())
        assert stop.is_done({"a"})
    assert not stop.grace_is_over
