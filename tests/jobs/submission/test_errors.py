"""What prevents a submission is one line that names the next step, and the exit status says whether to try again."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from jobs.submission import connect
from tests.command_line import Ended
from tests.jobs.submission.ray_head import free_ports

pytestmark = pytest.mark.long


def check_error(ended, status: int, *expected: str) -> None:
    assert (ended.status, ended.out) == (status, "")
    assert ended.err.startswith("xlm: ")
    assert ended.err.count("\n") == 1, ended.err
    for part in expected:
        assert part in ended.err


def test_invalid_job_is_refused_before_the_head_is_asked(xlm, fake_head, job):
    ended = xlm("submit", job, "--address", fake_head.address, "--set", "batch.max_tokns=1")
    check_error(ended, 2, "did you mean max_tokens?")
    assert fake_head.requests == []


def test_head_that_does_not_answer(xlm, job):
    (port,) = free_ports(1)
    ended = xlm("submit", job, "--address", f"127.0.0.1:{port}")
    check_error(ended, 1, f"http://127.0.0.1:{port}: no answer (Connection refused); start the Ray head, or correct --")


def test_host_without_address(xlm, job):
    check_error(xlm("submit", job, "--address", "http://no-such-host.invalid:8265"), 1, "no answer (")


@pytest.mark.parametrize("address", ["http://host:99999", "http://.a", f"http://{'a' * 64}"])
def test_invalid_address(address, xlm, job):
    check_error(xlm("submit", job, "--address", address), 2, f"{address}: not a URL, expected one such as")


@pytest.mark.parametrize("address", ["", "ray://head:10001"])
def test_address_that_is_no_url(address, xlm, job):
    check_error(xlm("submit", job, "--address", address), 2, f"--address '{address}': not the URL of a dashboard")


def test_redirect(xlm, fake_head, job):
    """A login page, or a proxy that redirects to https: Ray's client would lose the body of its requests."""
    fake_head.answers["GET", "/api/version"] = (302, "https://login.example.com/")
    ended = xlm("submit", job, "--address", fake_head.address)
    check_error(ended, 2, "redirects to https://login.example.com/; pass the URL")


def test_proxy_without_a_head_may_have_one_later(xlm, fake_head, job):
    fake_head.answers["GET", "/api/version"] = (502, "bad gateway")
    ended = xlm("submit", job, "--address", fake_head.address)
    check_error(ended, 1, "status 502, bad gateway; start the Ray head, or correct --address")


@pytest.mark.parametrize("answer", [(200, "<html>"), (200, ["a list"]), (404, "not found")])
def test_server_that_is_no_ray_head(answer, xlm, fake_head, job):
    fake_head.answers["GET", "/api/version"] = answer
    ended = xlm("submit", job, "--address", fake_head.address)
    check_error(ended, 2, f"not the dashboard of a Ray head (status {answer[0]}); pass the URL")


def test_head_with_another_version_of_ray(xlm, fake_head, job):
    fake_head.answers["GET", "/api/version"] = (200, {"ray_version": "2.40.0", "session_name": "a"})
    ended = xlm("submit", job, "--address", fake_head.address)
    check_error(ended, 2, "the cluster runs Ray 2.40.0, expected <2.64,>=2.60")


def test_proxy_that_refuses_the_size_of_the_code(xlm, fake_head, job):
    fake_head.answers["PUT", "/api/packages"] = (413, "too large")
    ended = xlm("submit", job, "--address", fake_head.address)
    check_error(ended, 2, "(status 413); raise its limit")


def test_error_of_the_head_may_be_temporary(xlm, fake_head, job):
    fake_head.answers["PUT", "/api/packages"] = (200, "")
    fake_head.answers["POST", "/api/jobs/"] = (500, "Traceback\n  …\nNo available agent to submit job")
    ended = xlm("submit", job, "--address", fake_head.address)
    check_error(ended, 1, "status 500, No available agent to submit job")


def test_local_paths_are_named_if_the_head_is_elsewhere(xlm, fake_head, job, demo):
    fake_head.answers["PUT", "/api/packages"] = (200, "")
    fake_head.answers["POST", "/api/jobs/"] = (200, {"job_id": "a", "submission_id": "a"})
    ended = xlm("submit", job, "--address", fake_head.address, "--no-wait", "--set", "output.path=s3://bucket/out")
    paths = [demo / "corpus", demo / "checkpoint", demo / "heads" / "topic", demo / "heads" / "upos"]
    files = ", ".join(map(str, paths))
    assert ended.out.splitlines()[1] == f"every node of the cluster must have these files, which are not sent: {files}"


def test_cluster_with_a_token(head, xlm, job, monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    check_error(run_with_token(head.address, HOME=str(tmp_path)), 2, "the cluster requires a token; set RAY_AUTH_MODE=")
    monkeypatch.setenv("RAY_JOB_HEADERS", '{"Authorization": "Bearer wrong"}')
    check_error(xlm("submit", job, "--address", head.address), 2, "the cluster refused the token; set RAY_AUTH_MODE=")


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "RAY_AUTH_MODE is token, but no token is set; set RAY_AUTH_TOKEN to the token of the cluster, or"),
        ("geheim€", "the token has characters that a header cannot have; "),
    ],
)
def test_token_that_cannot_be_sent(token, message, fake_head, tmp_path):
    ended = run_with_token(fake_head.address, HOME=str(tmp_path), RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
    check_error(ended, 2, message)
    assert "geheim" not in ended.err
    assert fake_head.requests == []


def test_file_of_a_token_that_is_no_text(fake_head, tmp_path):
    (tmp_path / "token").write_bytes(b"geheim\xff")
    ended = run_with_token(fake_head.address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(tmp_path / "token"))
    check_error(ended, 2, "RAY_AUTH_MODE is token, but no token is set; ")


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "RAY_AUTH_MODE is token, but no token is set; set RAY_AUTH_TOKEN to the cluster's token, or"),
        ("geheim€", "the token of RAY_AUTH_MODE=token has characters other than printable ASCII; correct RAY_AUTH_"),
    ],
)
def test_token_of_a_run_that_joins_a_cluster(token, message, head, job, tmp_path):
    variables = {"HOME": str(tmp_path), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    settings = [f"compute.address={head.node_address}", f"output.path={tmp_path}/out"]
    ended = call("run", job, *(f"--set={setting}" for setting in settings), **variables)
    assert (ended.status, ended.err.count("\n")) == (2, 1), ended.err
    assert message in ended.err
    assert "geheim" not in ended.err


def test_run_does_not_join_a_dashboard(xlm, job, tmp_path):
    settings = ["--set", "compute.address=http://me:geheim@head:8265", "--set", f"output.path={tmp_path}/out"]
    ended = xlm("run", job, *settings)
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert ended.err.startswith(
        "xlm: compute.address http://…@head:8265: not the address of a cluster's node, expected "
    )


def run_with_token(address: str, **variables: str) -> Ended:
    return call("submit", "--submission-id", "night-1", "--address", address, **variables)


def call(*arguments: str, **variables: str) -> Ended:
    """Call the command line in a process of its own: Ray keeps a token that a process has used."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")} | variables
    command = [sys.executable, "-m", "jobs.cli", *arguments]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def test_headers_that_are_no_json(fake_head, xlm, job, monkeypatch):
    monkeypatch.setenv("RAY_JOB_HEADERS", "Authorization: Bearer secret")
    ended = xlm("submit", job, "--address", fake_head.address)
    check_error(ended, 2, "RAY_JOB_HEADERS: not the headers of requests, expected JSON such as")
    assert "secret" not in ended.err


def test_unknown_job(submit: Callable, job):
    check_error(submit(job, "--stop"), 2, "was submitted; running jobs: ")
    check_error(submit("--submission-id", "night-1"), 2, "no job night-1 was submitted; running jobs: ")
    check_error(submit(job, "--submission-id", "a/b"), 2, "--submission-id 'a/b': expected at most 128 letters")
    check_error(submit(job, "--submission-id", "", "--stop"), 2, "--submission-id is empty, expected a name such as")


def test_environment_does_not_replace_the_address(head, submit, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:1")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")
    assert "no job night-1" in submit("--submission-id", "night-1").err
    client = connect(head.address)
    assert client.is_on_this_machine
