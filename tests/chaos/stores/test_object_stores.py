"""Whole jobs from, to and with a checkpoint on object stores, and what becomes of them when those misbehave."""

import io
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from pipelines.job.job import Job
from pipelines.run.execute import run
from pipelines.storage import locate
from pipelines.storage.stores import client
from tests.chaos.stores.request_faults import Fault, Faults, Rule
from tests.chaos.stores.store_faults import run_in_trouble
from tests.chaos.stores.store_jobs import BUCKET, Store, data, is_complete, results, small_job, trouble
from tests.flow.in_process import without_ray


def test_a_job_on_a_store_gives_what_it_gives_on_files(any_store, demo, tmp_path, monkeypatch):
    without_ray(monkeypatch)
    out = tmp_path / "out"
    spec = small_job(lambda path: str(demo / path), str(out))
    assert run(Job.model_validate(spec), Console(file=io.StringIO()))["status"] == "complete"
    local = {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*") if file.is_file()}
    expected, found = results(local), results(any_store.undisturbed)
    assert len(found) > 3
    assert any(rejected for _, rejected in found.values())
    assert found == expected
    assert is_complete(any_store.undisturbed)


# a store that misbehaves


def test_a_job_on_a_store_in_trouble_gives_the_same_bytes(s3):
    assert run_in_trouble(s3, 0.1).num_completed


def test_a_removal_whose_answer_gets_lost_is_done(store):
    """Azure's client tries it again, and finds nothing."""
    store.proxy.faults = faults = Faults(Rule(Fault.LOST_ACK, method="DELETE", times=1))
    assert store.run("removal") == "complete"
    assert faults.counts[Fault.LOST_ACK] == 1
    output = store.output("removal")
    assert data(output) == data(store.undisturbed)
    assert is_complete(output)


def test_what_a_store_did_not_remove_is_not_left_behind(azure_store):
    """Only Azure's objects are written under another name first."""
    azure_store.proxy.forget()
    expired = azure_store.server.expired  # an answer after which its client does not try again
    refusal = Rule(Fault.EXPIRED, method="DELETE", path=r"/\.part-[^/]*\.tmp", times=1)
    azure_store.proxy.faults = faults = Faults(refusal, expired=expired)
    assert azure_store.run("unremoved") == "complete"
    assert faults.counts[Fault.EXPIRED] == 1
    output = azure_store.output("unremoved")
    assert data(output) == data(azure_store.undisturbed)
    assert is_complete(output)


def test_a_body_that_is_cut_where_the_client_cannot_tell_is_told_by_checksums(store):
    """S3's client gives bytes of nowhere in place of those that did not come; Parquet's checksums tell."""
    store.proxy.faults = faults = Faults(Rule(Fault.CUT_UNSEEN, 0.5, method="GET", path=r"corpus/corpus/part-.*$"))
    store.run(
        "cut",
        {"pipelines.storage.retries._RETRY_AFTER_S": (0.0, 0.0, 0.0)},
        policy={"max_rejected": 0.05, "max_failed_shards": 100},
    )
    assert faults.counts[Fault.CUT_UNSEEN] > 0
    assert data(store.output("cut")).items() <= data(store.undisturbed).items()
    store.proxy.forget()
    assert store.run("cut") == "complete"
    assert data(store.output("cut")) == data(store.undisturbed)


def test_an_expired_credential_ends_a_run_at_once(any_store):
    store = any_store
    store.proxy.faults = Faults(Rule(Fault.EXPIRED), expired=store.server.expired)
    ending = store.run("expired", {})
    assert ending is not None
    assert ending.startswith("FatalError: ")
    assert "access is denied" in ending
    assert ending.endswith("check the environment's credentials")
    times = [request.at for request in store.proxy.requests]
    assert len(times) < 10
    assert time.monotonic() - times[0] < 5
    assert store.output("expired") == {}


def test_a_credential_that_expires_in_mid_run_loses_nothing(store):
    def expire() -> None:
        store.proxy.faults = Faults(Rule(Fault.EXPIRED), expired=store.server.expired)

    store.proxy.at(1, "before", expire, path="/ledger/")
    ending = store.run("expires")
    assert ending is not None
    assert ending.startswith("FatalError: ")
    assert "access is denied" in ending
    left = store.output("expires")
    assert "_SUCCESS" not in left
    assert 0 < len(data(left)) < len(data(store.undisturbed))
    assert data(left).items() <= data(store.undisturbed).items()
    store.expire_locks("expires")
    store.proxy.forget()
    assert store.run("expires") == "complete"
    assert data(store.output("expires")) == data(store.undisturbed)


@pytest.mark.parametrize("fault", [Fault.BUSY, pytest.param(Fault.RESET, marks=pytest.mark.slow)])
def test_a_store_that_is_down_is_tried_after_growing_waits_and_not_for_ever(s3, fault):
    s3.proxy.faults = Faults(Rule(fault))
    growing = {"pipelines.storage.retries._RETRY_AFTER_S": (0.1, 0.4, 3.2)}  # more than what a busy machine adds
    ending = s3.run("down", growing | {"pipelines.storage.stores._S3_ATTEMPTS": 1})  # else its own waits hide ours
    assert ending is not None
    assert ending.startswith("RetryableError: ")
    times = [request.at for request in s3.proxy.requests]
    assert len(times) == 4
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits == sorted(waits)
    assert waits[-1] > 4 * waits[0]


def test_a_lookup_of_a_buckets_region_is_tried_again(monkeypatch):
    """A stand-in answers, since only AWS itself has regions to tell."""
    answers = iter([OSError("When resolving region for bucket 'b': Timeout was reached"), "eu-west-1"])

    def region(_):
        if isinstance(answer := next(answers), OSError):
            raise answer
        return answer

    monkeypatch.setattr("pyarrow.fs.resolve_s3_region", region)
    monkeypatch.setattr("pipelines.storage.retries._RETRY_AFTER_S", (0.0,))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    client.cache_clear()
    assert client("s3", "b", None).region == "eu-west-1"
    client.cache_clear()


# what a job says of a store


def authorization(s3: Store, **options: object) -> str | None:
    """Look at the corpus with a job's options, anew; gives what came with the request."""
    client.cache_clear()
    job = s3.job("any", storage=s3.server.options(s3.proxy.url, **options))
    assert locate(s3.server.url(BUCKET, "corpus"), job.storage).list()
    return s3.proxy.requests[-1].headers.get("authorization")


def test_region_and_credentials_reach_the_store(s3, monkeypatch, tmp_path):
    shared = tmp_path / "credentials"
    shared.write_text("[other]\naws_access_key_id = AKIAOFTHEPROFILE\naws_secret_access_key = secret\n")
    for name, value in s3.server.environment.items():
        monkeypatch.setenv(name, value)
    assert "Credential=AKIATESTOFXLM/" in authorization(s3)
    assert "/eu-test-9/s3/aws4_request" in authorization(s3, region="eu-test-9")
    assert authorization(s3, anonymous=True) is None
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(shared))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "Credential=AKIAOFTHEPROFILE/" in authorization(s3, profile="other")


def run_with_ray(store: Store, folder: Path, scale: float) -> None:
    """Run the command line, whose workers reach the store too; no secret is in what is written or said."""
    store.proxy.faults = faults = trouble(scale)
    spec = store.job("ray").model_dump(mode="json", exclude_defaults=True)
    (folder / "job.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    command = [sys.executable, "-m", "jobs.cli", "run", str(folder / "job.yaml")]
    command += ["--set", "compute.tokenizers=1", "--set", "compute.models=1"]
    environment = os.environ | store.server.environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
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


def test_the_command_line_on_a_store_in_trouble_with_ray(s3, tmp_path):
    run_with_ray(s3, tmp_path, 0.05)


@pytest.mark.slow
def test_the_command_line_on_a_store_in_great_trouble_with_ray(store, tmp_path):
    run_with_ray(store, tmp_path, 0.5)
