"""Whole jobs from, to and with a checkpoint on object stores, and what becomes of them when those misbehave."""

import io
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from rich.console import Console

from pipelines.errors import FatalError, RetryableError
from pipelines.flow import run
from pipelines.job import Job
from pipelines.output_lock import lock_folder
from pipelines.storage import locate
from pipelines.stores import open_store
from tests.chaos.drivers import Driver, start_driver
from tests.chaos.proxy import Fault, Faults, Proxy, Rule, proxy
from tests.chaos.servers import Server, azure_server, gcs_server, s3_server
from tests.flow.in_process import without_ray

BUCKET = "corpus"
EXPIRES_S = 3.0  # a lock of these tests; S3 tells times in seconds

Objects = dict[str, bytes]


class Store:
    """A server with the demo's corpus, checkpoint and heads in it, and a proxy before it."""

    def __init__(self, server: Server, proxy: Proxy):
        self.server, self.proxy = server, proxy
        self.undisturbed: Objects = {}
        self.steps: list[str] = []

    def run_undisturbed(self) -> None:
        """Learn what a run leaves when nothing is in its way, and by which requests it changes the store."""
        assert start(self, "undisturbed").ending() == "complete"
        self.undisturbed = self.output("undisturbed")
        self.steps = [f"{request.method} {step(request.path)}" for request in self.proxy.mutations]

    def afresh(self) -> "Store":
        self.proxy.forget()
        open_store.cache_clear()
        return self

    def job(self, out: str, **changes: Any) -> Job:
        """Make the demo's job, in fewer and smaller steps, with everything in the store, reached through the proxy."""
        spec = small_job(lambda path: self.server.url(BUCKET, path), out)
        return Job.model_validate(spec | {"storage": self.server.options(self.proxy.url)} | changes)

    def output(self, out: str) -> Objects:
        return self.server.objects(f"{BUCKET}/{out}")


def small_job(place: Callable[[str], str], out: str) -> dict[str, Any]:
    return {
        "input": {
            "path": place("corpus/"),
            "id": "id",
            "text": "text",
            "lang": "lang",
            "keep": ["lang", "year"],
            "filter": "year >= 2020",
        },
        "model": {"checkpoint": place("checkpoint")},
        "tasks": ["feature-extraction", {"text-classification": {"head": place("heads/topic")}}],
        "tokenizer": {"max_length": 32, "ja": "fugashi"},
        "output": {"path": place(out), "rows_per_shard": 128},
        "policy": {"max_rejected": 0.05},
    }


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def results(output: Objects) -> dict[tuple[str, int, int], tuple[pa.Table, list[dict[str, Any]]]]:
    """Give the rows and rejected rows of every shard, known by its file's name and its place in the file.

    Every part is one that the plan has, and none is missing.
    """
    plan = pq.read_table(pa.BufferReader(output["_xlm/plan.parquet"])).to_pylist()
    parts = {f"part-{shard['shard']}.parquet": shard for shard in plan}
    assert {name for name in output if name.startswith("part-")} == parts.keys()
    found = {}
    for name, shard in parts.items():
        rejected = output.get(f"_xlm/rejected/{name}")
        rows = pq.read_table(pa.BufferReader(rejected)).drop_columns("file").to_pylist() if rejected else []
        table = pq.read_table(pa.BufferReader(output[name])).replace_schema_metadata()
        place = PurePosixPath(shard["file"]).name, shard["row_group"], shard["first_row"]
        found[place] = table, rows
    return found


def data(output: Objects) -> Objects:
    """Give the files that carry results."""
    return {name: content for name, content in output.items() if name.startswith(("part-", "_xlm/rejected/part-"))}


def is_complete(output: Objects) -> bool:
    """Whether it says so, and nothing is left of any run's lock or temporary objects."""
    return "_SUCCESS" in output and not [name for name in output if "/lock" in name or name.endswith(".tmp")]


def running(serve: Callable[[], AbstractContextManager[Server]], demo: Path) -> Iterator[Store]:
    with serve() as server, proxy(server.endpoint) as before, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_"))]:
            patch.delenv(name)  # a person's own
        for name, value in server.environment.items():
            patch.setenv(name, value)
        server.make_bucket(BUCKET)
        for file in sorted((demo / "corpus").iterdir()):  # with checksums, which the demo's own lacks
            sink = pa.BufferOutputStream()
            pq.write_table(pq.read_table(file), sink, row_group_size=128, write_page_checksum=True)
            server.write(f"{BUCKET}/corpus/{file.name}", sink.getvalue().to_pybytes())
        for folder in ("checkpoint", "heads"):
            server.copy_in(demo / folder, f"{BUCKET}/{folder}")
        store = Store(server, before)
        store.run_undisturbed()
        yield store


@pytest.fixture(scope="module")
def s3_store(demo: Path) -> Iterator[Store]:
    yield from running(s3_server, demo)


@pytest.fixture(scope="module")
def azure_store(demo: Path) -> Iterator[Store]:
    yield from running(azure_server, demo)


@pytest.fixture(scope="module")
def gcs_store(demo: Path) -> Iterator[Store]:
    yield from running(gcs_server, demo)


@pytest.fixture(params=["s3", "azure", "gcs"])
def any_store(request: pytest.FixtureRequest) -> Store:
    return request.getfixturevalue(f"{request.param}_store").afresh()


@pytest.fixture(params=["s3", "azure"])
def store(request: pytest.FixtureRequest) -> Store:
    """Google's client is not put to such tests: it answers each fault with a wait of seconds or minutes of its own."""
    return request.getfixturevalue(f"{request.param}_store").afresh()


@pytest.fixture
def s3(s3_store: Store) -> Store:
    return s3_store.afresh()


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process, with a record for each shard; waits of seconds become tenths."""
    without_ray(monkeypatch)
    monkeypatch.setattr("pipelines.storage_errors._RETRY_AFTER_S", (0.1, 0.4, 1.6))


def test_a_job_on_a_store_gives_what_it_gives_on_files(store, demo, tmp_path):
    spec = small_job(lambda path: str(demo / path), str(tmp_path / "out"))
    assert run(Job.model_validate(spec), quiet())["status"] == "complete"
    local = {
        str(file.relative_to(tmp_path / "out")): file.read_bytes()
        for file in (tmp_path / "out").rglob("*")
        if file.is_file()
    }
    expected, found = results(local), results(store.undisturbed)
    assert len(found) > 3
    assert any(rejected for _, rejected in found.values())
    assert found == expected
    assert is_complete(store.undisturbed)


# a store that misbehaves


def trouble(scale: float = 1.0) -> Faults:
    """Of 100 requests some 20 are turned away, 10 are reset, others are late, cut short, or done without an answer.

    One of each kind is certain to come; Azure's client does not survive a listing that is cut, hence the paths.
    """
    content = r"/corpus/[^?]+\.(parquet|json)$|alt=media"
    kinds = [
        Rule(Fault.BUSY, 0.12),
        Rule(Fault.BROKEN, 0.05),
        Rule(Fault.THROTTLED, 0.03),
        Rule(Fault.RESET, 0.10),
        Rule(Fault.RESET_IN_RESPONSE, 0.05, method="GET", path=content),
        Rule(Fault.CUT, 0.05, method="GET", path=content),
        Rule(Fault.LOST_ACK, 0.20, method="PUT|DELETE"),
        Rule(Fault.DELAY, 0.05),
    ]
    for kind in kinds:
        kind.share *= scale
    certain = [Rule(kind.fault, method=kind.method, path=kind.path, times=1, after=i) for i, kind in enumerate(kinds)]
    return Faults(*certain, *kinds, seed=7, delay_s=0.2)


def test_a_job_on_a_store_in_trouble_gives_the_same_bytes(store):
    store.proxy.faults = faults = trouble()
    assert run(store.job("trouble"), quiet())["status"] == "complete"
    assert faults.counts.keys() == {rule.fault for rule in faults.rules}
    assert faults.counts.total() > 20
    output = store.output("trouble")
    assert data(output) == data(store.undisturbed)
    assert is_complete(output)


def test_a_body_that_is_cut_where_the_client_cannot_tell_is_told_by_checksums(store):
    """S3's client gives bytes of nowhere in place of those that did not come; Parquet's checksums tell."""
    store.proxy.faults = faults = Faults(Rule(Fault.CUT_UNSEEN, 0.5, method="GET", path=r"corpus/corpus/part-.*$"))
    job = store.job("cut", policy={"max_rejected": 0.05, "max_failed_shards": 100})
    try:
        run(job, quiet())
    except (FatalError, RetryableError):
        pass
    assert faults.counts[Fault.CUT_UNSEEN] > 0
    cut = data(store.output("cut"))
    assert cut == {name: content for name, content in data(store.undisturbed).items() if name in cut}
    store.proxy.faults = Faults()
    assert run(job, quiet())["status"] == "complete"
    assert data(store.output("cut")) == data(store.undisturbed)


def test_an_expired_credential_ends_a_run_at_once(store):
    store.proxy.faults = Faults(Rule(Fault.EXPIRED), expired=store.server.expired)
    began = time.monotonic()
    with pytest.raises(FatalError, match=r"access is denied .*check the environment's credentials"):
        run(store.job("expired"), quiet())
    assert time.monotonic() - began < 5
    assert len(store.proxy.requests) < 10
    assert store.output("expired") == {}


def test_a_credential_that_expires_in_mid_run_loses_nothing(store):
    job = store.job("expires")

    def expire() -> None:
        store.proxy.faults = Faults(Rule(Fault.EXPIRED), expired=store.server.expired)

    store.proxy.at(1, "before", expire, path="/ledger/")
    with pytest.raises(FatalError, match="access is denied"):
        run(job, quiet())
    left = store.output("expires")
    assert "_SUCCESS" not in left
    assert 0 < len(data(left)) < len(data(store.undisturbed))
    assert data(left).items() <= data(store.undisturbed).items()
    expire_locks(store, "expires")
    store.proxy.forget()
    assert run(job, quiet())["status"] == "complete"
    assert data(store.output("expires")) == data(store.undisturbed)


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.RESET])
def test_a_store_that_is_down_is_tried_after_growing_waits_and_not_for_ever(s3, monkeypatch, fault):
    monkeypatch.setattr("pipelines.stores._S3_ATTEMPTS", 1)  # else each wait is hidden among the client's own
    s3.proxy.faults = Faults(Rule(fault))
    with pytest.raises(RetryableError, match="the store fails"):
        run(s3.job("down"), quiet())
    times = [request.at for request in s3.proxy.requests]
    assert len(times) == 4
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits == sorted(waits)
    assert waits[-1] > 4 * waits[0]


# what a job says of a store


def authorization(s3: Store, **options: Any) -> str | None:
    """Look at the corpus with a job's options; gives what came with the request."""
    job = s3.job("any", storage=s3.server.options(s3.proxy.url, **options))
    assert locate(s3.server.url(BUCKET, "corpus"), job.storage).list()
    return s3.proxy.requests[-1].headers.get("authorization")


def test_region_and_credentials_reach_the_store(s3, monkeypatch, tmp_path):
    shared = tmp_path / "credentials"
    shared.write_text("[other]\naws_access_key_id = AKIAOFTHEPROFILE\naws_secret_access_key = secret\n")
    assert "Credential=AKIATESTOFXLM/" in authorization(s3)
    assert "/eu-test-9/s3/aws4_request" in authorization(s3, region="eu-test-9")
    assert authorization(s3, anonymous=True) is None
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(shared))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "Credential=AKIAOFTHEPROFILE/" in authorization(s3, profile="other")


def test_the_command_line_on_a_store_in_trouble_with_ray(store, tmp_path):
    """Also the workers reach it; and no secret is in what is written or said."""
    store.proxy.faults = faults = trouble(0.3)
    spec = store.job("ray").model_dump(mode="json", exclude_defaults=True)
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    command = [sys.executable, "-m", "jobs.cli", "run", str(tmp_path / "job.yaml")]
    command += ["--set", "compute.tokenizers=1", "--set", "compute.models=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert faults.counts.total() > 5
    output = store.output("ray")
    assert data(output) == data(store.undisturbed)
    assert is_complete(output)
    said = (done.stdout + done.stderr).encode()
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AZURE_STORAGE_KEY"):
        if secret := store.server.environment.get(name, "").encode():
            assert secret not in said
            assert not [path for path, content in output.items() if secret in content]


# one writer


def start(store: Store, out: str, **settings: float) -> Driver:
    environment = {**store.server.environment, "XLM_CACHE": os.environ["XLM_CACHE"]}
    return start_driver(store.job(out), environment, **settings)


def expire_locks(store: Store, out: str) -> None:
    """Remove the locks of dead runs, as if the time had passed in which they count."""
    for name in store.output(out):
        if name.startswith("_xlm/lock"):
            store.server.fs.delete_file(f"{BUCKET}/{out}/{name}")


def test_of_many_that_want_a_lock_one_has_it(store, monkeypatch):
    monkeypatch.setattr("pipelines.output_lock._STEP_BACK_S", 0.3)
    folder = locate(store.server.url(BUCKET, "wanted/_xlm"), store.job("any").storage)
    holders: list[str] = []
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
            assert "another run is writing here (process" in str(error)  # noqa: PT017

    for _ in range(4):
        threads = [threading.Thread(target=want, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == 1
    assert wins >= 2


def test_two_runs_that_begin_at_once_do_not_both_work(s3):
    s3.proxy.faults = Faults(Rule(Fault.DELAY, method="PUT", path="/part-"), delay_s=0.3)
    drivers = [start(s3, "race") for _ in range(2)]
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
    driver = start(s3, "dead")
    assert driver.ending() is None
    ending = start(s3, "dead", _STEP_BACK_S=0.0).ending()
    assert ending is not None
    assert "another run is writing here (process" in ending
    time.sleep(EXPIRES_S + 1)
    assert start(s3, "dead", _EXPIRES_S=EXPIRES_S).ending() == "complete"
    output = s3.output("dead")
    assert data(output) == data(s3.undisturbed)
    assert is_complete(output)


@pytest.mark.parametrize(
    ("number", "request_path"),
    [(2, "/part-[^/]*$"), (3, "/lock-[^/]*$")],
    ids=["at a part", "while it renews the lock"],
)
def test_a_run_that_was_suspended_and_lost_its_lock_stops(s3, number, request_path):
    out, suspended = f"suspended-{number}", threading.Event()
    s3.proxy.faults = Faults(Rule(Fault.DELAY, method="PUT", path="/part-"), delay_s=EXPIRES_S / 2)
    s3.proxy.at(number, "before", lambda: (driver.suspend(), suspended.set()), path=request_path)
    driver = start(s3, out, _EXPIRES_S=EXPIRES_S)
    assert suspended.wait(60)
    s3.proxy.faults = Faults()
    time.sleep(EXPIRES_S + 1)
    assert start(s3, out, _EXPIRES_S=EXPIRES_S).ending() == "complete"
    done = s3.output(out)
    assert data(done) == data(s3.undisturbed)
    driver.resume()
    ending = driver.ending()
    assert ending is not None
    assert "the lock of this run is gone" in ending
    assert s3.output(out) == done


# killed at a request


def step(path: str) -> str:
    """Name the object that a request changes, one shard like another."""
    name = PurePosixPath(path.partition("?")[0])
    if name.parent.name in ("ledger", "rejected"):
        return name.parent.name
    return re.sub("^(part|lock)-.*", r"\1", name.name)


def kill_and_complete(store: Store, number: int, when: str) -> None:
    """Kill a run at a request, see that it left nothing broken, and let another run complete it."""
    out = f"killed-{when}-{number}"
    store.proxy.forget()
    store.proxy.at(number, when, lambda: driver.kill())
    driver = start(store, out)
    assert driver.ending() is None
    left = store.output(out)
    assert data(left).items() <= data(store.undisturbed).items()
    if "_SUCCESS" in left:
        assert data(left) == data(store.undisturbed)
    expire_locks(store, out)
    assert start(store, out).ending() == "complete"
    output = store.output(out)
    assert data(output) == data(store.undisturbed)
    assert is_complete(output)


def test_killed_at_a_request_of_each_kind(s3):
    first = {step: number for number, step in reversed(list(enumerate(s3.steps, 1)))}
    assert len(first) >= 8
    for turn, number in enumerate(sorted(first.values())):
        kill_and_complete(s3, number, ("before", "after")[turn % 2])


@pytest.mark.slow
def test_killed_at_every_request(store):
    for number in range(1, len(store.steps) + 1):
        for when in ("before", "after"):
            kill_and_complete(store, number, when)
