"""One writer on an object store, where no kernel keeps a lock: runs that race, are suspended, or die at a request."""

import threading
import time

import pytest

from pipelines.errors import FatalError
from pipelines.output.lock import lock_folder
from pipelines.storage import locate
from pipelines.storage.stores import client
from tests.chaos.stores.request_faults import Fault, Faults, Rule
from tests.chaos.stores.store_faults import kill_and_complete
from tests.chaos.stores.store_jobs import BUCKET, IMPATIENT, data, is_complete

EXPIRES_S = 4.0  # a run on a busy machine may take a second or two to renew its lock
SHORT = IMPATIENT | {"pipelines.output.lock._EXPIRES_S": EXPIRES_S}


def test_of_many_that_want_a_lock_one_has_it(store, monkeypatch):
    for name, value in store.server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("pipelines.output.lock._MAX_BACKOFF_S", 0.3)
    client.cache_clear()
    folder = locate(store.server.url(BUCKET, "wanted/_xlm"), store.job("any").storage)
    holders: list[str] = []
    refusals: list[str] = []
    most = wins = 0

    def want(name: str) -> None:
        nonlocal most, wins
        try:
            with lock_folder(folder):
                holders.append(name)
                most, wins = max(most, len(holders)), wins + 1
                time.sleep(0.2)
                holders.remove(name)
        except FatalError as error:
            refusals.append(str(error))

    for _ in range(4):
        threads = [threading.Thread(target=want, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == 1
    assert wins >= 2
    assert wins + len(refusals) == 12
    assert all("another run is writing here (" in refusal for refusal in refusals)


def test_two_runs_that_begin_at_once_do_not_both_work(s3):
    s3.proxy.faults = Faults(Rule(Fault.DELAY, method="PUT", path="/part-"), delay_s=0.3)
    drivers = [s3.start("race") for _ in range(2)]
    endings = [driver.ending() for driver in drivers]
    # one that steps back long enough finds everything done
    assert "complete" in endings
    assert all(ending == "complete" or "another run is writing here" in ending for ending in endings)
    begun = [request for request in s3.proxy.mutations if request.path.endswith("/race/_xlm/job.json")]
    assert len(begun) == 1
    output = s3.output("race")
    assert data(output) == data(s3.undisturbed)
    assert is_complete(output)


def test_a_lock_outlives_its_dead_holder_until_it_expires(s3):
    s3.proxy.at(1, "before", lambda: driver.kill(), path="/ledger/")
    driver = s3.start("dead")
    assert driver.ending() is None
    ending = s3.run("dead", IMPATIENT | {"pipelines.output.lock._MAX_BACKOFF_S": 0.0})
    assert ending is not None
    assert "another run is writing here (process" in ending
    time.sleep(EXPIRES_S + 1)
    assert s3.run("dead", SHORT) == "complete"
    output = s3.output("dead")
    assert data(output) == data(s3.undisturbed)
    assert is_complete(output)


@pytest.mark.parametrize(
    ("number", "request_path"),
    [
        pytest.param(2, "/part-[^/]*$", id="at a part", marks=pytest.mark.slow),
        pytest.param(3, "/lock-[^/]*$", id="while it renews the lock"),
    ],
)
def test_a_run_that_was_suspended_and_lost_its_lock_stops(s3, number, request_path):
    out, suspended = f"suspended-{number}", threading.Event()
    s3.proxy.faults = Faults(Rule(Fault.DELAY, method="PUT", path="/part-"), delay_s=EXPIRES_S / 2)
    s3.proxy.at(number, "before", lambda: (driver.suspend(), suspended.set()), path=request_path)
    driver = s3.start(out, SHORT)
    assert suspended.wait(60)
    s3.proxy.faults = Faults()
    time.sleep(EXPIRES_S + 1)
    assert s3.run(out, SHORT) == "complete"
    done = s3.output(out)
    assert data(done) == data(s3.undisturbed)
    driver.resume()
    ending = driver.ending()
    assert ending is not None
    assert "this run lost its lock" in ending
    assert s3.output(out) == done


@pytest.mark.parametrize(
    ("request_of", "when"),
    [("PUT lock", "after"), ("PUT part", "after"), ("PUT ledger", "before"), ("PUT _SUCCESS", "after")],
)
def test_killed_at_a_request(s3, request_of, when):
    counts = kill_and_complete(s3, s3.steps.index(request_of) + 1, when)
    assert counts.num_completed == 1
