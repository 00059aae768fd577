"""Progress: what it publishes while Ray does not answer."""

import io
import threading

from rich.console import Console

from pipelines.run.progress import Progress


def test_rows_in_flight_are_not_published_after_the_end(monkeypatch):
    """A call of Ray that hangs while a cluster shuts down may return after the run has written its last status."""
    called, may_return = threading.Event(), threading.Event()
    callers: list[threading.Thread] = []

    def hang() -> int:
        callers.append(threading.current_thread())
        called.set()
        may_return.wait()
        return 7

    monkeypatch.setattr("pipelines.run.progress.count_rows_in_flight", hang)
    monkeypatch.setattr("pipelines.run.progress._COUNT_EVERY_S", 0.01)
    published: list[int] = []
    progress = Progress(Console(file=io.StringIO()), 100)
    with progress.show(published.append):
        called.wait()
    may_return.set()
    callers[0].join()
    assert published == []
