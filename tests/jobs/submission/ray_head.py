"""A Ray head on loopback with the Jobs API and a token, as `ray start --head --block` starts it."""

import contextlib
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import ray
import requests

START_TIMEOUT_S = 120.0
_MARKER = "XLM_TEST_HEAD"
_PORTS = (
    "port",
    "dashboard-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "metrics-export-port",
    "node-manager-port",
    "object-manager-port",
    "ray-client-server-port",
)


class RayHead:
    """A running head.

    Args:
        folder: the folder of Ray, whose path must be short.
        num_cpus: its CPUs.
        autoscaler: the autoscaler's configuration. If its provider needs the head's address, it is `HEAD` there.
        environment: environment variables of all processes.

    Attributes:
        address: the URL of its dashboard.
        node_address: the address that drivers join.
        token: the token that it requires.
    """

    def __init__(self, folder: Path, num_cpus: int = 3, autoscaler: dict[str, Any] | None = None, **environment: str):
        self.token, self._id = secrets.token_hex(16), uuid.uuid4().hex
        ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        self.address = f"http://127.0.0.1:{ports['dashboard-port']}"
        self.node_address = f"127.0.0.1:{ports['port']}"
        python = Path(sys.executable).parent
        command = [python / "ray", "start", "--head", "--block", "--node-ip-address=127.0.0.1"]
        command += ["--dashboard-host=127.0.0.1", f"--temp-dir={folder / 'ray'}", f"--num-cpus={num_cpus}"]
        command += [f"--object-store-memory={100 * 2**20}", "--disable-usage-stats"]
        command += ["--min-worker-port=0", "--max-worker-port=0"]
        command += [f"--{name}={port}" for name, port in ports.items()]
        if autoscaler is not None:
            gcs = f"{ray.util.get_node_ip_address()}:{ports['port']}"
            (folder / "autoscaler.json").write_text(json.dumps(autoscaler).replace("HEAD", gcs))
            command += [f"--autoscaling-config={folder / 'autoscaler.json'}"]
        environment |= self.credentials | {_MARKER: self._id, "PATH": f"{python}:{os.environ['PATH']}"}
        environment = os.environ | environment
        environment.pop("PYTHONPATH", None)  # the code is shipped
        self._log = folder / "start.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)

    @property
    def credentials(self) -> dict[str, str]:
        """The environment variables of clients."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.2)

    def jobs(self) -> dict[str, dict]:
        """Return the submitted jobs by id."""
        assert self._process.poll() is None, self._log.read_text()
        jobs = requests.get(f"{self.address}/api/jobs/", headers=self.headers, timeout=60).json()
        return {job["submission_id"]: job for job in jobs if job["submission_id"]}

    def processes(self) -> list[int]:
        """Find all processes of the head and its jobs, also those whose parent has ended."""
        marker = f"{_MARKER}={self._id}".encode()
        return [int(path.name) for path in Path("/proc").glob("[0-9]*") if marker in _environment_of(path)]

    def stop(self) -> list[int]:
        """Kill all processes of the head, and return the drivers of jobs that had not ended.

        If the head has run a job, Ray takes half a minute to stop.
        """
        deadline = time.monotonic() + 30
        while (drivers := list(filter(_is_driver, self.processes()))) and time.monotonic() < deadline:
            time.sleep(0.2)
        while processes := self.processes():
            for pid in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        self._process.wait()
        return drivers

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.address}/api/version", headers=self.headers, timeout=5).ok
        except requests.RequestException:
            return False


def free_ports(number: int) -> list[int]:
    """Find free ports between those of Ray's workers and those that the system gives to clients and servers."""
    ports: list[int] = []
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as each, contextlib.suppress(OSError):
            each.bind(("127.0.0.1", port))
            ports.append(port)
    return ports[:number]


def _environment_of(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _is_driver(pid: int) -> bool:
    try:
        return b"run_job.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
