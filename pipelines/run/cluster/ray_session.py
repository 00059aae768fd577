"""Start Ray for a run and shut it down afterwards, or join a cluster; keep Ray's own messages off the terminal."""

from __future__ import annotations

import gc
import logging
import math
import os
import re
import shutil
import signal
import tempfile
import time
import warnings
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import ray
from ray.exceptions import AuthenticationError
from ray.util.annotations import RayDeprecationWarning

from pipelines.environment import environment
from pipelines.errors import ClusterError, FatalError
from pipelines.formatting import one_line
from pipelines.ray_internals import (
    addable_nodes,
    bound_queues,
    few_processes,
    find_token_header,
    has_autoscaler,
    join_ray_data_threads,
    keep_sigterm_handler,
    one_node,
    shut_down,
    silence_worker_deaths,
)
from pipelines.run.cluster.lost_cluster import cluster_watch, find_child_processes, is_alive
from pipelines.stages import Node
from pipelines.storage import describe_error

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from pipelines.job import ComputeSettings

# Ray creates Unix sockets below its directory. Their paths may have at most 107 bytes, so the directory is near the
# root and has a short name, which contains the id of the process that owns it.
_PARENT_FOLDER, _FOLDER_PREFIX = Path("/tmp"), "xlm-ray-"

_ASSUMED_CPUS = 2.0  # of nodes that an autoscaler may add

_RAY_DATA_ENDS_WITHIN_S = 15.0
_PROCESSES_END_WITHIN_S = 10.0


@contextmanager
def ray_session(
    settings: ComputeSettings, *, with_runtime_envs: bool = False
) -> Generator[tuple[list[Node], list[Node]]]:
    """Provide Ray for the duration of a `with` block. Yield the nodes of its cluster, and those it can add.

    If this process is connected to Ray already, that connection is used and kept, at any address. Must be entered
    in the main thread.

    Schedulers send SIGTERM to all processes of a job: to its process group or its cgroup. Local Ray's processes block
    SIGTERM, as Ray makes them block SIGINT, so only this process decides how the run ends.

    Args:
        settings: the job's section `compute`.
        with_runtime_envs: whether local Ray starts the process that Ray Train's workers need.

    Raises:
        FatalError: the address is not valid, no cluster answers there, or it has another version of Ray or Python.
        ClusterError: Ray did not start on this machine, or its cluster was lost before the block began.
    """
    _configure_ray()
    owns_ray = not ray.is_initialized()
    folder: str | None = None
    try:
        with cluster_watch():
            address = _find_address(settings)
            _check_token()
            if owns_ray and address == "local":
                _remove_abandoned_folders()
                folder = tempfile.mkdtemp(prefix=f"{_FOLDER_PREFIX}{os.getpid()}-", dir=_PARENT_FOLDER)
                _start(folder, settings.object_store_mb, with_runtime_envs=with_runtime_envs)
            elif owns_ray:
                _join(address)
            _configure_ray_data()
            nodes = [_node(node["Resources"]) for node in ray.nodes() if node["Alive"]]
            addable = [_node(resources) for resources, number in addable_nodes() for _ in range(number)]
            if not addable and has_autoscaler():
                # It may have a type of node that fits. Without that knowledge, ask for little of each.
                number = 1 if settings.models == "auto" else settings.models
                addable = [Node(_ASSUMED_CPUS, math.ceil(settings.gpus_per_model))] * number
        with nullcontext() if folder is None else one_node():
            yield nodes, addable
    finally:
        if owns_ray:
            join_ray_data_threads(_RAY_DATA_ENDS_WITHIN_S)
            # Reference cycles left by an error may hold Ray objects, which must be released before Ray shuts down.
            gc.collect()
            _shut_down()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _node(resources: Mapping[str, float]) -> Node:
    return Node(resources.get("CPU", 0.0), resources.get("GPU", 0.0))


def _configure_ray() -> None:
    """Set the options of Ray, and turn off its messages."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # by default, other processes get 28 times as much of a CPU
    os.environ.setdefault("RAY_task_oom_retries", "2")  # by default, a task that exhausts memory is retried forever
    # A node that is cut off is given up after 2 minutes instead of 7. Servers refuse clients that ping more often than
    # every minute.
    os.environ.setdefault("RAY_grpc_client_keepalive_time_ms", "75000")
    os.environ.setdefault("RAY_grpc_client_keepalive_timeout_ms", "30000")
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # what it logs as errors are exceptions of the driver, too
    silence_worker_deaths()
    keep_sigterm_handler()
    # The restart options of actors can only be passed as **ray_remote_args, which the pinned Ray still accepts.
    warnings.filterwarnings("ignore", category=RayDeprecationWarning)
    # Ray Data warns of pools that are larger than the number of shards.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"ray\.data\.")


def _configure_ray_data() -> None:
    from ray.data import DataContext  # here, because importing it takes as long as starting Ray

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = -1  # a run may wait hours for a GPU
    context.max_errored_blocks = -1  # a crashed worker loses its shards, which are computed again; the run continues
    context.max_consecutive_actor_init_deaths = 3
    bound_queues()


def _start(folder: str, object_store_mb: int | None, *, with_runtime_envs: bool) -> None:
    variables = environment(
        # Ray's shutdown waits this long for a lost head. On a cluster it may come back, so the default stays there.
        RAY_gcs_rpc_server_reconnect_timeout_s="10",
        # The first workers import what all of them need while the driver does, too.
        RAY_preload_python_modules="pipelines.worker_imports",
    )
    try:
        with _discard_stderr(), _block_sigterm(), variables, nullcontext() if with_runtime_envs else few_processes():
            ray.init(
                address="local",  # without an address, Ray would join any cluster that runs on this machine
                include_dashboard=False,
                configure_logging=False,
                log_to_driver=False,
                object_store_memory=object_store_mb * 2**20 if object_store_mb else None,
                _temp_dir=folder,
            )
    except Exception as error:
        raise ClusterError(f"Ray did not start on this machine ({describe_error(error)})") from None


def _find_address(settings: ComputeSettings) -> str:
    source, address = "compute.address", settings.address
    if address is None:
        source, address = "RAY_ADDRESS", os.environ.get("RAY_ADDRESS") or "local"
    if "://" in address:
        url = re.sub("//.*@", "//…@", address)  # without a password
        raise FatalError(
            f"{source} {url}: not the address of a cluster's node, expected HOST:PORT, auto or local; xlm submit "
            "runs a job on a cluster from outside, and compute.address=local on this machine"
        )
    return address


def _check_token() -> None:
    """Check the token with which Ray connects, if there is one. With other characters, Ray's core aborts."""
    header = find_token_header() or ""
    if not (header.isascii() and header.isprintable()):
        raise FatalError(
            "the token of RAY_AUTH_MODE=token has characters other than printable ASCII; correct RAY_AUTH_TOKEN, or "
            "the file of RAY_AUTH_TOKEN_PATH"
        )


def _join(address: str) -> None:
    try:
        # Ray would try 20 times, of half a minute each.
        with _discard_stderr(), _block_sigterm(), environment(RAY_gcs_server_port_wait_time_s="1"):
            ray.init(address=address, configure_logging=False, log_to_driver=False)
    except ConnectionError as error:
        raise FatalError(
            f"Ray at {address}: no cluster answers ({describe_error(error)}); start it, or correct compute.address; a "
            "cluster with tokens needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
        ) from None
    except AuthenticationError:
        raise FatalError(
            f"Ray at {address}: RAY_AUTH_MODE is token, but no token is set; set RAY_AUTH_TOKEN to the cluster's "
            "token, or RAY_AUTH_TOKEN_PATH to a file with it"
        ) from None
    except RuntimeError as error:
        if "Version mismatch" not in str(error):
            raise
        raise FatalError(f"Ray at {address}: {one_line(str(error))}; use the same versions on all nodes") from None


def _shut_down() -> None:
    """Disconnect from Ray. End the processes of local Ray, and wait for them.

    `ray.shutdown` ends the raylet. Its workers then end within a second, but its agents wait for the head until the
    driver ends.
    """
    processes = [pid for raylet in find_child_processes("raylet") for pid in find_child_processes(parent=raylet)]
    shut_down()
    for pid in filter(is_alive, processes):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _PROCESSES_END_WITHIN_S
    while any(map(is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.02)


@contextmanager
def _block_sigterm() -> Generator[None]:
    """Block SIGTERM for the processes that the `with` block starts. In this process, other threads may receive it.

    Ray's core replaces the handler by one that prints a stack trace first, so it is restored.
    """
    handler = signal.getsignal(signal.SIGTERM)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextmanager
def _discard_stderr() -> Generator[None]:
    """Discard what is written to stderr: as it starts, Ray's core reports where its log level comes from."""
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as null:
            os.dup2(null.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _remove_abandoned_folders() -> None:
    """Remove the directories of local Ray whose driver was killed."""
    for folder in _PARENT_FOLDER.glob(f"{_FOLDER_PREFIX}*"):
        pid = folder.name.removeprefix(_FOLDER_PREFIX).partition("-")[0]
        if pid.isdigit():
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                shutil.rmtree(folder, ignore_errors=True)
            except PermissionError:
                pass  # the driver is alive and belongs to another user
