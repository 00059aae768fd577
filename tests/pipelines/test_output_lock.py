"""One writer: whoever holds an output's lock is alone, and a dead or suspended holder does not keep others out."""

import os
import threading
import time

import pytest

from pipelines.errors import FatalError
from pipelines.output import lock as output_lock
from pipelines.output.lock import lock_folder
from pipelines.storage import locate


@pytest.fixture(params=["", "local://"], ids=["file system", "store"])
def folder(request, tmp_path):
    """A directory with a lock of the kernel's, and one whose lock is a file that is renewed."""
    location = locate(f"{request.param}{tmp_path}/out/_xlm")
    assert location.is_local == (request.param == "")
    return location


@pytest.fixture
def store(tmp_path):
    return locate(f"local://{tmp_path}/out/_xlm")


def test_a_second_holder_is_refused_and_told_whose_the_lock_is(folder):
    with lock_folder(folder) as lock:
        lock.check()
        told = f"another run is writing here .process {os.getpid()} on"
        with pytest.raises(FatalError, match=told), lock_folder(folder):
            pytest.fail("two hold the lock")
        lock.check()
    with lock_folder(folder):
        pass


def test_of_many_that_come_at_once_at_most_one_holds_it(folder, monkeypatch):
    monkeypatch.setattr(output_lock, "_STEP_BACK_S", 0.05)
    start, inside, most, served, refused = threading.Barrier(8), [], [], [], []

    def contend(number: int) -> None:
        start.wait()
        try:
            with lock_folder(folder):
                inside.append(number)
                most.append(len(inside))
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
    assert max(most, default=1) == 1
    assert [file.name for file in folder.list() if file.name != "lock"] == []


def test_a_dead_holders_lock_lapses(store):
    store.fs.create_dir(store.path, recursive=True)
    for content in ('{"by": "process 1 on a dead machine", "renewed": 0}', "[]", "not json"):
        (store / "lock-0123456789abcdef.json").put(content.encode())
        with pytest.raises(FatalError, match="another run is writing here"), lock_folder(store):
            pass
        long_ago = time.time() - output_lock._EXPIRES_S - 5
        os.utime((store / "lock-0123456789abcdef.json").path, (long_ago, long_ago))
        with lock_folder(store):
            assert len(store.list()) == 1
    assert store.list() == []


def test_a_lock_is_renewed_while_it_is_held(store, monkeypatch):
    monkeypatch.setattr(output_lock, "_EXPIRES_S", 2.0)
    with lock_folder(store) as lock:
        time.sleep(3)
        lock.check()
        with pytest.raises(FatalError, match="another run is writing here"), lock_folder(store):
            pass


def test_a_holder_that_was_suspended_finds_that_it_lost_the_lock(store, monkeypatch):
    """Its lock lapsed, and another took over: it must not write any more, nor take the other's lock away."""
    with lock_folder(store) as suspended:
        (name,) = [file.name for file in store.list()]
        long_ago = time.time() - output_lock._EXPIRES_S - 5
        os.utime((store / name).path, (long_ago, long_ago))
        with lock_folder(store) as other:
            monkeypatch.setattr(suspended, "_renewed", time.monotonic() - output_lock._EXPIRES_S)
            with pytest.raises(FatalError, match="the lock of this run is gone"):
                suspended.check()
            assert not suspended.renew()
            other.check()
            with pytest.raises(FatalError, match="another run is writing here"), lock_folder(store):
                pass
