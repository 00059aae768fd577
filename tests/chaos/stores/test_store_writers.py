"""One writer at a time on an object store, whose locks are files: runs that start together, are suspended or killed."""

import threading
import time

import pytest

from pipelines.errors import FatalError
from pipelines.output import Output
from pipelines.output.lock import lock_folder
from pipelines.status import read_status
from pipelines.storage import locate
from pipelines.storage.stores import open_client
from tests.chaos.stores.request_faults import Fault, Faults, Rule
from tests.chaos.stores.store_faults import kill_and_resume
from tests.chaos.stores.store_jobs import BUCKET, QUICK_RETRIES, is_complete, result_files

# A run loses its lock if a renewal takes half of this. On a busy machine one can take a second or two.
EXPIRES_S = 6.0
SHORT_LOCKS = QUICK_RETRIES | {"pipelines.output.lock._EXPIRES_S": EXPIRES_S}


def test_at_most_one_of_many_concurrent_runs_holds_the_lock(store, monkeypatch):
    for name, value in store.server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("pipelines.output.lock._MAX_BACKOFF_S", 1.0)
    open_client.cache_clear()
    folder = locate(store.server.url(BUCKET, "contended/_xlm"), store.job("any").storage)
    holders: list[str] = []
    refusals: list[str] = []
    max_holders = num_held = 0

    def contend(name: str) -> None:
        nonlocal max_holders, num_held
        try:
            with lock_folder(folder):
                holders.append(name)
                max_holders, num_held = max(max_holders, len(holders)), num_held + 1
                time.sleep(0.2)
                holders.remove(name)
        except FatalError as error:
            refusals.append(str(error))

    for _ in range(4):
        threads = [threading.Thread(target=contend, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert max_holders == 1
    assert num_held >= 2
    assert num_held + len(refusals) == 12
    assert all("another run is writing here (" in refusal for refusal in refusals)


def test_only_one_of_two_runs_that_start_together_works(s3):
    s3.proxy.faults = Faults(Rule(Fault.DELAY, method="PUT", path="/part-"), delay_s=0.3)
    # Long waits between attempts, so that the two do not collide in each of them.
    drivers = [s3.start("race", QUICK_RETRIES | {"pipelines.output.lock._MAX_BACKOFF_S": 8.0}) for _ in range(2)]
    outcomes = [driver.wait() for driver in drivers]
    # Both complete if one backs off for so long that the other has finished.
    assert "complete" in outcomes
    assert all(outcome == "complete" or "another run is writing here" in outcome for outcome in outcomes)
    starts = [request for request in s3.proxy.mutations if request.path.endswith("/race/_xlm/job.json")]
    assert len(starts) == 1
    output = s3.output("race")
    assert result_files(output) == result_files(s3.undisturbed)
    assert is_complete(output)


def test_lock_of_a_killed_run_is_valid_until_it_expires(s3, monkeypatch):
    """`xlm status` shows when the lock was renewed, so that one can see that the run does not renew it any more."""
    for name, value in s3.server.environment.items():
        monkeypatch.setenv(name, value)
    open_client.cache_clear()

    def state() -> tuple[str, int]:
        status = read_status(Output(locate(s3.server.url(BUCKET, "killed"), s3.job("any").storage)))
        assert status.holder is None or time.time() - status.holder.renewed_s < EXPIRES_S
        return status.state, status.shards_done

    s3.proxy.at(1, "before", lambda: driver.kill(), path="/ledger/")
    driver = s3.start("killed")
    assert driver.wait() is None
    outcome = s3.run("killed", QUICK_RETRIES | {"pipelines.output.lock._MAX_BACKOFF_S": 0.0})
    assert outcome is not None
    assert "another run is writing here (process" in outcome
    assert state() == ("running", 0)
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.output.lock._EXPIRES_S", EXPIRES_S)
        time.sleep(EXPIRES_S + 1)
        assert state() == ("stopped", 0)
    assert s3.run("killed", SHORT_LOCKS) == "complete"
    assert state() == ("complete", s3.steps.count("PUT part"))
    output = s3.output("killed")
    assert result_files(output) == result_files(s3.undisturbed)
    assert is_complete(output)


@pytest.mark.parametrize(
    ("number", "request_path"),
    [
        pytest.param(2, "/part-[^/]*$", id="while it writes a part", marks=pytest.mark.slow),
        pytest.param(3, "/lock-[^/]*$", id="while it renews the lock"),
    ],
)
def test_suspended_run_that_has_lost_its_lock_stops(s3, number, request_path):
    out, suspended = f"suspended-{number}", threading.Event()
    s3.proxy.faults = Faults(Rule(Fault.DELAY, method="PUT", path="/part-"), delay_s=EXPIRES_S / 2)
    s3.proxy.at(number, "before", lambda: (driver.suspend(), suspended.set()), path=request_path)
    driver = s3.start(out, SHORT_LOCKS)
    assert suspended.wait(240)
    s3.proxy.faults = Faults()
    time.sleep(EXPIRES_S + 1)
    assert s3.run(out, SHORT_LOCKS) == "complete"
    done = s3.output(out)
    assert result_files(done) == result_files(s3.undisturbed)
    driver.resume()
    outcome = driver.wait()
    assert outcome is not None
    assert "this run lost its lock" in outcome
    assert s3.output(out) == done


@pytest.mark.parametrize(
    ("request_of", "when"),
    [("PUT lock", "after"), ("PUT part", "after"), ("PUT ledger", "before"), ("PUT _SUCCESS", "after")],
)
def test_next_run_completes_after_a_kill_at_a_request(s3, request_of, when):
    counts = kill_and_resume(s3, s3.steps.index(request_of) + 1, when)
    assert counts.num_completed == 1
