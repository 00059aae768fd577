"""Ray around a run: started for it and stopped after it, or a cluster that is joined; its own noise kept out."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import ray
from ray.data import DataContext
from ray.util.annotations import RayDeprecationWarning

from pipelines.environment import environment
from pipelines.errors import FatalError, RetryableError
from pipelines.ray_internals import join_ray_data_threads, silence_worker_deaths
from pipelines.run.cluster_watch import cluster_watch
from pipelines.storage.retries import reason

if TYPE_CHECKING:
    from collections.abc import Generator

    from pipelines.job.job import ComputeSpec

# Ray keeps Unix sockets below its directory, and their paths may have 107 bytes: near the root, with a short name,
# which says whose it is.
_FOLDERS, _PREFIX = Path("/tmp"), "xlm-ray-"

_RAY_DATA_ENDS_WITHIN_S = 15.0


@contextmanager
def ray_session(spec: ComputeSpec) -> Generator[tuple[float, float]]:
    """Have Ray for the length of a `with` block, and give the cluster's CPUs and GPUs.

    A Ray that this process is connected to already is used, and left running. Must be entered in the main thread.

    Raises:
        FatalError: no cluster answers at `compute.address`.
        RetryableError: Ray did not start on this machine, or was lost before it could tell its size.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_task_oom_retries", "2")  # a task that takes all memory would be tried for ever
    # a machine that is cut off is given up after 2 minutes, not 7; servers refuse who asks more often than each minute
    os.environ.setdefault("RAY_grpc_client_keepalive_time_ms", "75000")
    os.environ.setdefault("RAY_grpc_client_keepalive_timeout_ms", "30000")
    for name in ("ray", "ray.data"):  # what they log as errors reaches us as exceptions
        logging.getLogger(name).setLevel(logging.CRITICAL)
    silence_worker_deaths()
    # restart options of actors have no other way in than **ray_remote_args, which the pinned Ray still takes
    warnings.filterwarnings("ignore", category=RayDeprecationWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"ray\.data\.")  # pools larger than few shards fill
    ours, on_sigterm = not ray.is_initialized(), signal.getsignal(signal.SIGTERM)
    folder: str | None = None
    try:
        context = DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.execution_no_progress_timeout_s = -1  # waiting hours for a GPU is no failure
        context.max_errored_blocks = -1  # a dead process costs its shards, which the next run does; not the run
        context.max_consecutive_actor_init_deaths = 3
        with cluster_watch():
            if ours and spec.address == "local":
                _remove_dead_folders()
                folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_FOLDERS)
                _start(folder, spec.object_store_mb)
            elif ours:
                _join(spec.address)
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray has put its own there, which exits at once
            resources = ray.cluster_resources()
        yield resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    finally:
        if ours:
            join_ray_data_threads(_RAY_DATA_ENDS_WITHIN_S)
            # Reference cycles left by an error may hold Ray objects, which must be released before Ray shuts down.
            gc.collect()
            ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _start(folder: str, object_store_mb: int | None) -> None:
    # leaving a Ray whose head is lost waits so long for it; on a cluster it may come back
    head_returns_within = environment(RAY_gcs_rpc_server_reconnect_timeout_s="10")
    try:
        with _stderr_unheard(), head_returns_within:
            ray.init(
                address="local",  # a plain init would join a stranger's cluster on the same machine
                include_dashboard=False,
                configure_logging=False,
                log_to_driver=False,
                object_store_memory=object_store_mb * 2**20 if object_store_mb else None,
                _temp_dir=folder,
            )
    except Exception as error:
        raise RetryableError(f"Ray did not start on this machine ({reason(error)})") from None


def _join(address: str) -> None:
    try:
        with _stderr_unheard():
            ray.init(address=address, configure_logging=False, log_to_driver=False)
    except ConnectionError as error:
        raise FatalError(f"compute.address {address}: no Ray cluster answers ({reason(error)})") from None


@contextmanager
def _stderr_unheard() -> Generator[None]:
    """Keep what Ray's core prints as it starts (that its log level is read from the environment) off the terminal."""
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _remove_dead_folders() -> None:
    """Remove what local Rays of killed processes left."""
    for folder in _FOLDERS.glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit():
            try:
                os.kill(int(owner), 0)
            except ProcessLookupError:
                shutil.rmtree(folder, ignore_errors=True)
            except PermissionError:
                pass  # somebody else's, and alive
