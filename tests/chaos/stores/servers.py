"""Object store servers on loopback, each in its own process: S3 (moto), Azure (Azurite) and a GCS emulator."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pyarrow.fs as pafs
import pytest

_START_TIMEOUT_S = 120.0
_ROOT = Path(__file__).parents[3]

# The default account and key of Azurite, from its documentation.
_ACCOUNT = "devstoreaccount1"
_ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class Server:
    """A running object store.

    Attributes:
        endpoint: its http:// address.
        scheme: the start of its URLs, such as `s3://`.
        environment: the environment variables that a job needs: dummy credentials, and nothing of the user's own.
        fs: a file system for tests, which does not use the code of the product.
        expired: status and code of its response to expired credentials.
        anonymous: whether it is accessed without credentials.
    """

    endpoint: str
    scheme: str
    environment: dict[str, str]
    fs: pafs.FileSystem
    expired: tuple[int, str]
    anonymous: bool = False

    def url(self, bucket: str, path: str) -> str:
        return f"{self.scheme}{bucket}/{path}"

    def options(self, endpoint: str | None = None, **options: Any) -> list[dict[str, Any]]:
        """Return a job's `storage` section for this server or a proxy in front of it."""
        options = {"anonymous": self.anonymous} | options
        return [{"url": self.scheme, "endpoint": endpoint or self.endpoint, **options}]

    def make_bucket(self, name: str) -> None:
        self.fs.create_dir(name)

    def copy_in(self, folder: Path, path: str) -> None:
        """Copy a local directory with all its files to `bucket/path`."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.write(f"{path}/{file.relative_to(folder)}", file.read_bytes())

    def write(self, path: str, data: bytes) -> None:
        with self.fs.open_output_stream(path) as stream:
            stream.write(data)

    def read(self, path: str) -> bytes:
        with self.fs.open_input_file(path) as source:
            return source.read()

    def objects(self, path: str) -> dict[str, bytes]:
        """Read every object in `bucket/path`, by its name there, except for the markers of directories."""
        selector = pafs.FileSelector(path, recursive=True, allow_not_found=True)
        found = [info.path for info in self.fs.get_file_info(selector) if info.type == pafs.FileType.File]
        return {name.removeprefix(f"{path}/"): self.read(name) for name in sorted(found)}


@contextmanager
def s3_server() -> Iterator[Server]:
    """Run the S3 server of moto, which accepts any credentials."""
    if find_spec("moto") is None or find_spec("flask") is None:
        pytest.skip("S3 on loopback needs the package moto[server] of the extra test")
    port = _free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    endpoint = f"http://127.0.0.1:{port}"
    with _running(command, f"{endpoint}/moto-api/"):
        fs = pafs.S3FileSystem(
            access_key="test",
            secret_key="test",
            region="us-east-1",
            endpoint_override=endpoint,
            allow_bucket_creation=True,
        )
        environment = {
            "AWS_ACCESS_KEY_ID": "AKIATESTOFXLM",
            "AWS_SECRET_ACCESS_KEY": "secret-of-the-environment",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",  # otherwise a client without credentials asks the network for some
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        yield Server(endpoint, "s3://", environment, fs, (400, "ExpiredToken"))


@contextmanager
def azure_server() -> Iterator[Server]:
    """Run the blob service of Azurite, in memory."""
    program = _azurite()
    port = _free_port()
    options = ["--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry"]
    address = f"127.0.0.1:{port}"
    with _running([program, "--blobHost", "127.0.0.1", "--blobPort", str(port), *options], f"http://{address}/"):
        fs = pafs.AzureFileSystem(
            account_name=_ACCOUNT,
            account_key=_ACCOUNT_KEY,
            blob_storage_authority=address,
            blob_storage_scheme="http",
            dfs_storage_authority=address,
            dfs_storage_scheme="http",
        )
        environment = {"AZURE_STORAGE_ACCOUNT": _ACCOUNT, "AZURE_STORAGE_KEY": _ACCOUNT_KEY}
        yield Server(f"http://{address}", "az://", environment, fs, (401, "ExpiredToken"))


@contextmanager
def gcs_server() -> Iterator[Server]:
    """Run an emulator of Google Cloud Storage, in memory. It needs no credentials."""
    if find_spec("gcp_storage_emulator") is None:
        pytest.skip("GCS on loopback needs the package gcp-storage-emulator of the extra test")
    port = _free_port()
    address = f"127.0.0.1:{port}"
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--host", "127.0.0.1", "--port", str(port)]
    with _running([*command, "--in-memory"], f"http://{address}/"):
        fs = pafs.GcsFileSystem(anonymous=True, endpoint_override=address, scheme="http", project_id="test")
        yield Server(f"http://{address}", "gs://", {}, fs, (401, "UNAUTHENTICATED"), anonymous=True)


def _azurite() -> str:
    bundled = _ROOT / ".venv" / "azurite" / "node_modules" / ".bin" / "azurite-blob"
    program = os.environ.get("XLM_AZURITE", str(bundled))
    if shutil.which(program) is None:
        pytest.skip(f"Azure on loopback needs azurite, which `make test` installs if there is npm (no {program})")
    return program


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def _running(command: list[str], health_url: str) -> Iterator[None]:
    """Run a server for the length of a `with` block, which starts when the server responds."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            deadline = time.monotonic() + _START_TIMEOUT_S
            while not _is_up(health_url):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{' '.join(command)}: does not respond (status {server.poll()})")
                time.sleep(0.05)
            yield
        finally:
            server.kill()


def _is_up(url: str) -> bool:
    try:
        with urlopen(url, timeout=5):
            return True
    except HTTPError:
        return True
    except (URLError, ConnectionError, TimeoutError):
        return False
