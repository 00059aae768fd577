"""Complete jobs on object stores, without and with faults of the store."""

import io
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from pipelines.job.job import Job
from pipelines.run.execute import run
from pipelines.storage import locate
from pipelines.storage.stores import open_client
from tests.chaos.stores.request_faults import Fault, Faults, Rule
from tests.chaos.stores.store_faults import run_with_random_faults
from tests.chaos.stores.store_jobs import (
    BUCKET,
    Store,
    is_complete,
    random_faults,
    result_files,
    results_by_shard,
    small_job,
)
from tests.flow.in_process import without_ray


def test_results_on_a_store_are_those_on_local_files(any_store, demo, tmp_path, monkeypatch):
    without_ray(monkeypatch)
    out = tmp_path / "out"
    spec = small_job(lambda path: str(demo / path), str(out))
    assert run(Job.model_validate(spec), Console(file=io.StringIO()))["status"] == "complete"
    local = {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*") if file.is_file()}
    expected, found = results_by_shard(local), results_by_shard(any_store.undisturbed)
    assert len(found) > 3
    assert any(rejected for _, rejected in found.values())
    assert found == expected
    assert is_complete(any_store.undisturbed)


def test_results_on_a_store_with_random_faults_are_identical(s3):
    assert run_with_random_faults(s3, 0.1).num_completed


def test_deletion_whose_response_is_lost_succeeds(store):
    """Azure's client repeats the request, and the object no longer exists."""
    store.proxy.faults = faults = Faults(Rule(Fault.LOST_RESPONSE, method="DELETE", times=1))
    assert store.run("deletion") == "complete"
    assert faults.counts[Fault.LOST_RESPONSE] == 1
    output = store.output("deletion")
    assert result_files(output) == result_files(store.undisturbed)
    assert is_complete(output)


def test_temporary_object_that_could_not_be_deleted_is_deleted_later(azure_store):
    """Only objects on Azure are written under a temporary name first."""
    azure_store.proxy.reset()
    expired = azure_store.server.expired  # a response after which its client does not retry
    refusal = Rule(Fault.EXPIRED, method="DELETE", path=r"/\.part-[^/]*\.tmp", times=1)
    azure_store.proxy.faults = faults = Faults(refusal, expired=expired)
    assert azure_store.run("undeleted") == "complete"
    assert faults.counts[Fault.EXPIRED] == 1
    output = azure_store.output("undeleted")
    assert result_files(output) == result_files(azure_store.undisturbed)
    assert is_complete(output)


def test_truncated_body_that_the_client_does_not_notice_fails_parquets_checksums(store):
    """S3's client returns arbitrary bytes instead of the missing ones."""
    store.proxy.faults = faults = Faults(
        Rule(Fault.TRUNCATED_UNNOTICED, 0.5, method="GET", path=r"corpus/corpus/part-.*$")
    )
    store.run(
        "truncated",
        {"pipelines.storage.retries._RETRY_AFTER_S": (0.0, 0.0, 0.0)},
        policy={"max_rejected": 0.05, "max_failed_shards": 100},
    )
    assert faults.counts[Fault.TRUNCATED_UNNOTICED] > 0
    assert result_files(store.output("truncated")).items() <= result_files(store.undisturbed).items()
    store.proxy.reset()
    assert store.run("truncated") == "complete"
    assert result_files(store.output("truncated")) == result_files(store.undisturbed)


def test_expired_credentials_end_a_run_at_once(any_store):
    store = any_store
    store.proxy.faults = Faults(Rule(Fault.EXPIRED), expired=store.server.expired)
    outcome = store.run("expired", {})
    assert outcome is not None
    assert outcome.startswith("FatalError: ")
    assert "access is denied" in outcome
    assert outcome.endswith("check the credentials in the environment")
    times = [request.at for request in store.proxy.requests]
    assert len(times) < 10
    assert times[-1] - times[0] < 5
    assert store.output("expired") == {}


def test_run_whose_credentials_expire_keeps_its_parts_and_can_be_resumed(store):
    def expire() -> None:
        store.proxy.faults = Faults(Rule(Fault.EXPIRED), expired=store.server.expired)

    store.proxy.at(1, "before", expire, path="/ledger/")
    outcome = store.run("expires")
    assert outcome is not None
    assert outcome.startswith("FatalError: ")
    assert "access is denied" in outcome
    left = store.output("expires")
    assert "_SUCCESS" not in left
    assert 0 < len(result_files(left)) < len(result_files(store.undisturbed))
    assert result_files(left).items() <= result_files(store.undisturbed).items()
    store.expire_locks("expires")
    store.proxy.reset()
    assert store.run("expires") == "complete"
    assert result_files(store.output("expires")) == result_files(store.undisturbed)


@pytest.mark.parametrize("fault", [Fault.BUSY, pytest.param(Fault.RESET, marks=pytest.mark.slow)])
def test_requests_to_a_store_that_is_down_are_retried_with_growing_waits(s3, fault):
    s3.proxy.faults = Faults(Rule(fault))
    growing = {"pipelines.storage.retries._RETRY_AFTER_S": (0.2, 1.2, 6.0)}  # larger than the delays of a busy machine
    outcome = s3.run(
        "down", growing | {"pipelines.storage.retries.S3_ATTEMPTS": 1}
    )  # the client's own waits would hide ours
    assert outcome is not None
    assert outcome.startswith("RetryableError: ")
    times = [request.at for request in s3.proxy.requests]
    assert len(times) == 4
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits == sorted(waits)
    assert waits[-1] > 4 * waits[0]


def test_lookup_of_a_buckets_region_is_retried(monkeypatch):
    """The responses are fakes, because only AWS itself has regions."""
    responses = iter([OSError("When resolving region for bucket 'b': Timeout was reached"), "eu-west-1"])

    def region(_):
        if isinstance(response := next(responses), OSError):
            raise response
        return response

    monkeypatch.setattr("pyarrow.fs.resolve_s3_region", region)
    monkeypatch.setattr("pipelines.storage.retries._RETRY_AFTER_S", (0.0,))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    open_client.cache_clear()
    assert open_client("s3", "b", None).region == "eu-west-1"
    open_client.cache_clear()


def authorization(s3: Store, **options: object) -> str | None:
    """List the corpus with a job's options, and return the authorization header of the request."""
    open_client.cache_clear()
    job = s3.job("any", storage=s3.server.options(s3.proxy.url, **options))
    assert locate(s3.server.url(BUCKET, "corpus"), job.storage).list()
    return s3.proxy.requests[-1].headers.get("authorization")


def test_region_and_credentials_of_the_job_are_used(s3, monkeypatch, tmp_path):
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
    """Run the command line on a store with random faults, and check that no secret is written or printed."""
    store.proxy.faults = faults = random_faults(scale)
    spec = store.job("ray").model_dump(mode="json", exclude_defaults=True)
    (folder / "job.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    command = [sys.executable, "-m", "jobs.cli", "run", str(folder / "job.yaml")]
    command += ["--set", "compute.tokenizers=1", "--set", "compute.models=1"]
    environment = os.environ | store.server.environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert faults.counts.total() > 5
    output = store.output("ray")
    assert result_files(output) == result_files(store.undisturbed)
    assert is_complete(output)
    printed = (done.stdout + done.stderr).encode()
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AZURE_STORAGE_KEY"):
        if secret := store.server.environment.get(name, "").encode():
            assert secret not in printed
            assert not [path for path, content in output.items() if secret in content]


@pytest.mark.slow
def test_results_with_ray_on_a_store_with_random_faults_are_identical(s3, tmp_path):
    run_with_ray(s3, tmp_path, 0.05)


@pytest.mark.slow
def test_results_with_ray_on_a_store_with_many_random_faults_are_identical(store, tmp_path):
    run_with_ray(store, tmp_path, 0.5)
