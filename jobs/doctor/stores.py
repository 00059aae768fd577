"""Try what reads corpora and checkpoints: stores, table formats, the hub, checkpoint formats; and Ray."""

from __future__ import annotations

import importlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
import pyarrow as pa
import pyarrow.fs as pafs

from jobs.doctor.finding import Finding, find_out, package_version
from pipelines.corpus import read_some_rows
from pipelines.formatting import format_size
from pipelines.storage import locate

if TYPE_CHECKING:
    from collections.abc import Iterator

_JAVA = "install Java and Hadoop's client, and set JAVA_HOME, HADOOP_HOME and CLASSPATH"
_FSSPEC_STORES = {"sftp": "paramiko", "http": "aiohttp", "webhdfs": "requests", "smb": "smbprotocol"}


def try_stores() -> Iterator[Finding]:
    """Try to write a local file, and to create the client of each kind of store. No request is sent."""
    yield find_out("stores", "local files", _write_file, needed=True, advice="set TMPDIR to a writable directory")
    for scheme, client in {
        "s3://": lambda: pafs.S3FileSystem(region="us-east-1", anonymous=True),
        "gs://": lambda: pafs.GcsFileSystem(anonymous=True),
        "abfss://": lambda: pafs.AzureFileSystem(account_name="account"),
    }.items():
        yield find_out("stores", scheme, lambda client=client: _describe_client(client()))
    yield find_out("stores", "hdfs://", lambda: _describe_client(pafs.HadoopFileSystem("localhost", 1)), advice=_JAVA)
    for protocol, package in _FSSPEC_STORES.items():
        yield _try_fsspec(protocol, package)


def try_tables() -> Iterator[Finding]:
    """Read a Delta table, and load the reader of Iceberg tables."""
    yield find_out("tables", "Delta Lake", _read_delta, extra="delta")
    yield find_out("tables", "Iceberg", _load_iceberg, extra="iceberg")


def try_checkpoint_sources() -> Iterator[Finding]:
    """Load the client of the hub, and read a file of TensorFlow's format."""
    yield find_out("checkpoints", "hf://", _load_hub, extra="hub")
    yield find_out("checkpoints", "tf_model.h5", _read_hdf5, extra="tensorflow-checkpoints")


def try_ray() -> Iterator[Finding]:
    """Load Ray and the client of its Jobs API. No cluster is started."""
    yield find_out("clusters", "Ray", _load_ray, needed=True)
    yield find_out("clusters", "xlm submit", _load_jobs_client, extra="cluster")


def _write_file() -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = locate(folder) / "file"
        file.put(b"bytes")
        if file.read_bytes() != b"bytes":
            raise OSError(f"{folder}: a file does not contain what was written")
        return f"written to {Path(folder).parent}, {format_size(shutil.disk_usage(folder).free)} free"


def _describe_client(_: pafs.FileSystem) -> str:
    return f"client of pyarrow {pa.__version__}; access is tested with a job"


def _try_fsspec(protocol: str, package: str) -> Finding:
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError:
        detail, next_step = f"{package} is not installed", f"pip install {package}"
        return Finding("stores", f"{protocol}://", "missing", detail, next_step)
    return Finding("stores", f"{protocol}://", "works", f"fsspec {fsspec.__version__}; access is tested with a job")


def _read_delta() -> str:
    import deltalake

    with tempfile.TemporaryDirectory() as folder:
        deltalake.write_deltalake(folder, pa.table({"text": ["a", "b"]}))
        if read_some_rows(folder, 10).num_rows != 2:
            raise ValueError("a table has other rows than were written")
    return f"deltalake {deltalake.__version__}; read a table"


def _load_iceberg() -> str:
    for module in ("io.pyarrow", "table"):
        importlib.import_module(f"pyiceberg.{module}")
    return f"pyiceberg {package_version('pyiceberg')}"


def _load_hub() -> str:
    import huggingface_hub as hub
    from huggingface_hub import constants

    token = "with a token" if hub.get_token() else "without a token"
    offline = "; HF_HUB_OFFLINE is set, so nothing is downloaded" if constants.HF_HUB_OFFLINE else ""
    return f"huggingface_hub {hub.__version__}, {token}{offline}"


def _read_hdf5() -> str:
    import h5py

    with h5py.File("memory.h5", "w", driver="core", backing_store=False) as file:
        if file.create_dataset("weights", data=[1.0])[0] != 1.0:
            raise ValueError("a file has other values than were written")
    return f"h5py {h5py.__version__}"


def _load_ray() -> str:
    import ray

    shared = Path("/dev/shm")
    memory = f", {format_size(shutil.disk_usage(shared).free)} of shared memory free" if shared.is_dir() else ""
    return f"ray {ray.__version__}{memory}"


def _load_jobs_client() -> str:
    import aiohttp

    return f"client of Ray's Jobs API, aiohttp {aiohttp.__version__}"
