"""The lock of an output: one holder at a time, and no lock outlives its holder."""

import os
import threading
import time

import pytest

from pipelines.errors import FatalError
from pipelines.output import lock as output_lock
from pipelines.output.lock import check_unlocked, lock_folder
from pipelines.storage import locate

HELD = "another run is writing here"


@pytest.fixture(params=["", "local://"], ids=["file system", "store"])
def folder(request, tmp_path):
    """A directory with a kernel lock, and one whose lock is a file that is renewed."""
    location = locate(f"{request.param}{tmp_path}/out/_xlm")
    assert location.is_local == (request.param == "")
    return location


@pytest.fixture
def store(tmp_path):
    return locate(f"local://{tmp_path}/out/_xlm")


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(output_lock, "_MAX_BACKOFF_S", 0.05)


def test_check_of_the_lock_writes_nothing(folder):
    check_unlocked(folder)
    assert not folder.exists()
    with lock_folder(folder):
        files = folder.list()
        with pytest.raises(FatalError, match=HELD):
            check_unlocked(folder)
        assert folder.list() == files
    check_unlocked(folder)


def test_second_holder_is_refused_and_the_error_names_the_first(folder):
    with lock_folder(folder) as lock:
        lock.check()
        expected = f"{HELD} .process {os.getpid()} on"
        with pytest.raises(FatalError, match=expected), lock_folder(folder):
            pytest.fail("two hold the lock")
        lock.check()
    with lock_folder(folder):
        pass


def test_at_most_one_of_many_concurrent_runs_holds_the_lock(folder):
    start, inside, num_inside, served, refused = threading.Barrier(8), [], [], [], []

    def contend(number: int) -> None:
        start.wait()
        try:
            with lock_folder(folder):
                inside.append(number)
                num_inside.append(len(inside))
                time.sleep(0.05)
                inside.remove(number)
                served.append(number)
        except FatalError:
            refused.append(number)

    threads = [threading.Thread(target=contend, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(served) + len(refused) == 8
    assert max(num_inside, default=1) == 1
    assert [file.name for file in folder.list() if file.name != "lock"] == []


def test_lock_of_a_killed_holder_expires(store):
    store.fs.create_dir(store.path, recursive=True)
    for content in ('{"by": "process 1 on a dead machine", "renewed": 0}', "[]", "not json"):
        (store / "lock-0123456789abcdef.json").put(content.encode())
        with pytest.raises(FatalError, match=HELD), lock_folder(store):
            pass
        long_ago = time.time() - output_lock._EXPIRES_S - 5
        os.utime((store / "lock-0123456789abcdef.json").path, (long_ago, long_ago))
        with lock_folder(store):
            assert len(store.list()) == 1
    assert store.list() == []


def test_lock_is_renewed_while_it_is_held(store, monkeypatch):
    # A renewal that takes half of this, on a busy machine, would lose the lock.
    monkeypatch.setattr(output_lock, "_EXPIRES_S", 5.0)
    with lock_folder(store) as lock:
        time.sleep(6)
        lock.check()
        with pytest.raises(FatalError, match=HELD), lock_folder(store):
            pass


def test_suspended_holder_notices_that_another_run_took_the_lock(store, monkeypatch):
    """It must not write any more, and must not remove the other run's lock."""
    with lock_folder(store) as suspended:
        (name,) = [file.name for file in store.list()]
        long_ago = time.time() - output_lock._EXPIRES_S - 5
        os.utime((store / name).path, (long_ago, long_ago))
        with lock_folder(store) as other:
            monkeypatch.setattr(suspended, "_renewed", time.monotonic() - output_lock._EXPIRES_S)
            with pytest.raises(FatalError, match="this run lost its lock"):
                suspended.check()
            assert not suspended.renew()
            other.check()
            with pytest.raises(FatalError, match=HELD), lock_folder(store):
                pass
