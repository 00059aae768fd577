"""What prevents a submission is one line that names the next step, and the exit status says whether to try again."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jobs.submission import connect
from tests.jobs.submission.ray_head import free_ports

pytestmark = pytest.mark.long


class FakeHead(ThreadingHTTPServer):
    """Answers as the dashboard of a head that is not suitable.

    Attributes:
        answers: status and body for each method and path; all others are answered with 404.
        requests: the methods and paths that were requested.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.answers: dict[tuple[str, str], tuple[int, object]] = {}
        self.requests: list[tuple[str, str]] = []


class _Handler(BaseHTTPRequestHandler):
    server: FakeHead

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = "/api/packages" if self.path.startswith("/api/packages") else self.path
        self.server.requests.append((self.command, path))
        status, body = self.server.answers.get((self.command, path), (404, "not found"))
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_PUT = do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def fake_head() -> Iterator[FakeHead]:
    with FakeHead() as head:
        head.answers["GET", "/api/version"] = (200, {"ray_version": "2.60.0", "session_name": "session_elsewhere"})
        head.answers["GET", "/api/jobs/"] = (200, [])
        thread = threading.Thread(target=head.serve_forever)
        thread.start()
        yield head
        head.shutdown()
        thread.join()


@pytest.fixture
def job(demo: Path) -> str:
    return str(demo / "job.yaml")


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


@pytest.mark.parametrize("address", ["http://host:port", "http://[1"])
def test_invalid_address(address, xlm, job):
    check_error(xlm("submit", job, "--address", address), 2, f"{address}: not a URL, expected one such as")


@pytest.mark.parametrize("answer", [(200, "<html>"), (200, ["a list"]), (404, "not found"), (502, "bad gateway")])
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
    # Ray keeps a token that this process has used, and looks for one in the home directory.
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    command = [sys.executable, "-m", "jobs.cli", "submit", job, "--address", head.address]
    ended = subprocess.run(command, env=env | {"HOME": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "the cluster requires a token; set RAY_AUTH_MODE=" in ended.stderr
    monkeypatch.setenv("RAY_JOB_HEADERS", '{"Authorization": "Bearer wrong"}')
    check_error(xlm("submit", job, "--address", head.address), 2, "the cluster refused the token; set RAY_AUTH_MODE=")


def test_headers_that_are_no_json(fake_head, xlm, job, monkeypatch):
    monkeypatch.setenv("RAY_JOB_HEADERS", "Authorization: Bearer secret")
    ended = xlm("submit", job, "--address", fake_head.address)
    check_error(ended, 2, "RAY_JOB_HEADERS: expected JSON such as")
    assert "secret" not in ended.err


def test_unknown_job(submit: Callable, job):
    check_error(submit(job, "--stop"), 2, "was submitted; running jobs: ")
    check_error(submit("--submission-id", "night-1"), 2, "no job night-1 was submitted; running jobs: ")
    check_error(submit("--submission-id", "a/b"), 2, "--submission-id a/b: expected at most 128 letters")


def test_environment_does_not_replace_the_address(head, submit, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:1")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")
    assert "no job night-1" in submit("--submission-id", "night-1").err
    client = connect(head.address)
    assert client.is_on_this_machine
