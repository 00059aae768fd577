"""What this project uses of Ray beyond its public interface, apart from its key-value store.

None of it has a public equivalent in the pinned versions of Ray (see `pyproject.toml`):

- The nodes that are about to be removed. `ray.nodes()` reports them as alive until they are removed.
- Whether there is an autoscaler, the nodes that it can add, which Ray Data reads in the same way, and the requests that
  it cannot fulfil.
- Which actors live and are on a node, and the free resources of each node. `ray.util.state` needs the dashboard, which
  local Ray does not have.
- The function that prints a report on the driver's terminal for each worker that dies. `log_to_driver=False` does not
  turn it off.
- The function that replaces the handler of SIGTERM when Ray starts.
- The processes that `ray.init` starts. `ray.shutdown` sends them SIGTERM, which they block (see
  `pipelines.run.cluster.ray_session`), and waits a second for each before it kills it.
- How `ray.init` starts its processes and Ray Data its actors, of which a run on one machine needs only some.
- When Ray Data holds a stage back that is faster than the next one: by default, once half of its memory is in use.
- The token of `RAY_AUTH_MODE=token`. If a header cannot have its characters, Ray's core aborts the process.
- The folders of Ray's session and of its logs. They exist on every node until the session is removed.
- The names of Ray Data's threads. A thread that calls Ray after `ray.shutdown` ends the process.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import importlib
import json
import shutil
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import ray
from ray._private import node, services, utils, worker
from ray._private.authentication.http_token_authentication import get_auth_headers_if_auth_enabled
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray._private.state import state
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.core.generated import autoscaler_pb2
from ray.exceptions import AuthenticationError
from ray.experimental.internal_kv import (
    _internal_kv_get,
)

if TYPE_CHECKING:
    from collections.abc import Generator

_EXECUTOR_THREADS = ("StreamingExecutor-", "ray-data-metadata")
_MAX_ADDABLE = 1_000  # nodes of one type, also if the autoscaler has no limit
_STATUS_TIMEOUT_S = 10


def find_token_header() -> str | None:
    """Return the header with which Ray sends the token of a cluster; None without `RAY_AUTH_MODE=token` or a token."""
    try:
        return get_auth_headers_if_auth_enabled({}).get("authorization")
    except AuthenticationError:
        return None
    except UnicodeDecodeError as error:
        return error.object.decode("latin-1")


def draining_node_ids() -> set[str]:
    """Return the ids of the nodes that are about to be removed, such as spot nodes after their termination notice."""
    return set(state.get_draining_nodes())


def addable_nodes() -> list[tuple[dict[str, float], int]]:
    """Return the resources of nodes that an autoscaler can add, and how many of each; none if it does not tell."""
    config = state.get_cluster_config()
    groups = [group for group in config.node_group_configs if group.max_count] if config is not None else []
    return [
        (dict(group.resources), min(group.max_count if group.max_count > 0 else _MAX_ADDABLE, _MAX_ADDABLE))
        for group in groups
    ]


def has_autoscaler() -> bool:
    """Return whether the cluster has an autoscaler, which may add nodes of types that it may not tell."""
    if is_autoscaler_v2(fetch_from_server=True):
        return True
    status = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS) or "{}")
    report = status.get("autoscaler_report") or {}
    node_types = {*(report.get("active_nodes") or {}), *(report.get("node_type_mapping") or {}).values()}
    # Without an autoscaler, each node is reported as a type of its own, by its id.
    return any(not node_type.startswith("node_") for node_type in node_types)


def infeasible_requests() -> list[dict[str, float]]:
    """Return the resources that no node of any type that the autoscaler can add has; only its version 2 tells."""
    if not is_autoscaler_v2(fetch_from_server=True):
        return []
    gcs_client, protocol = cast("Any", worker.global_worker).gcs_client, cast("Any", autoscaler_pb2)
    status = protocol.GetClusterStatusReply.FromString(gcs_client.get_cluster_status(_STATUS_TIMEOUT_S))
    return [dict(request.resources_bundle) for request in status.autoscaling_state.infeasible_resource_requests]


def living_actors() -> list[tuple[str, bool]]:
    """Return the class of each actor of this driver that lives or is to be started, and whether it is on a node.

    On a node, it has its resources, but may still be in its constructor.
    """
    job = ray.JobID.from_hex(ray.get_runtime_context().get_job_id())
    actors = cast("dict[str, dict[str, Any]]", state.actor_table(None, job))
    return [
        # Before its process has an address, Ray sets the id of the node alone.
        (actor["ActorClassName"], bool(actor["Address"]["Port"]))
        for actor in actors.values()
        if actor["State"] in ("PENDING_CREATION", "ALIVE", "RESTARTING")
    ]


def free_resources() -> list[dict[str, float]]:
    """Return the resources of each node that no task or actor has reserved."""
    return list(state.available_resources_per_node().values())


def silence_worker_deaths() -> None:
    """Stop Ray from printing a report on the driver's terminal for each worker that dies."""
    worker.print_to_stdstream = lambda *_, **__: None


@contextmanager
def few_processes() -> Generator[None]:
    """Let `ray.init` start the head and the raylet alone, for the duration of a `with` block.

    By default it also starts the dashboard, the monitors of the autoscaler and of logs, and waits for the agents of
    metrics and runtime environments, which a run on one machine does not need. Each of these five processes imports a
    large part of Ray, which takes two seconds altogether on two CPUs. While `ray.init` waits for the first workers, the
    driver imports Ray Data.
    """
    imports = threading.Thread(target=importlib.import_module, args=("ray.data",))
    start_process, raylet = services.start_ray_process, cast("Any", ray)._raylet
    # A raylet ends with its agents. This program ends when its input does, which is a pipe from the raylet.
    agent = shutil.which("cat")

    def start(command: list[str], process_type: str, *args: Any, **options: Any) -> Any:
        if process_type == "raylet" and agent is not None:
            values = dict(argument.split("=", 1) for argument in command if "=" in argument)
            for name in ("METRICS_AGENT", "METRICS_EXPORT", "DASHBOARD_AGENT_LISTEN", "RUNTIME_ENV_AGENT"):
                # The raylet waits for these files. This value says that there is no such service.
                service = getattr(raylet, f"{name}_PORT_NAME")
                raylet.persist_port(values["--session_dir"], values["--node_id"], service, -1)
            values |= dict.fromkeys(("--dashboard_agent_command", "--runtime_env_agent_command"), agent)
            flags = [argument for argument in command[1:] if "=" not in argument]
            command = [command[0], *(f"{name}={value}" for name, value in values.items()), *flags]
            options["env_updates"] = {"RAY_enable_pipe_based_agent_to_parent_health_check": "1"}
        started = start_process(command, process_type, *args, **options)
        if process_type == "raylet":
            imports.start()
        return started

    with _replaced(
        (node.Node, "start_monitor", lambda *_: None),
        (node.Node, "start_log_monitor", lambda *_: None),
        (node.Node, "start_api_server", lambda *_, **__: None),
        (utils, "get_dashboard_dependency_error", lambda: None),  # imports the packages of the dashboard
        (services, "start_ray_process", start),
    ):
        yield
    if imports.ident is not None:
        imports.join()


@contextmanager
def one_node() -> Generator[None]:
    """Keep Ray Data from starting its actors for clusters, for the duration of a `with` block; Ray has one node.

    They collect statistics for the dashboard, divide the nodes among executions, and know the node of each actor. They
    are three more processes that import Ray Data, and an execution does not begin before they have started.
    """
    from ray.data._internal import stats
    from ray.data._internal.cluster_autoscaler import DefaultAutoscalingCoordinator
    from ray.data._internal.execution.operators import actor_pool_map_operator as actors

    resources = {found["NodeID"]: found["Resources"] for found in ray.nodes()}
    nothing = staticmethod(lambda *_, **__: None)
    with _replaced(
        (stats._StatsManager, "register_dataset_to_stats_actor", nothing),
        (stats._StatsManager, "update_execution_metrics", nothing),
        (stats._StatsManager, "update_iteration_metrics", nothing),
        (DefaultAutoscalingCoordinator, "request_resources", nothing),
        (DefaultAutoscalingCoordinator, "cancel_request", nothing),
        (DefaultAutoscalingCoordinator, "get_reserved_resources", lambda _: resources),
        (actors, "get_or_create_actor_location_tracker", _NoTracker),
        (actors, "get_actor_locations", lambda _: {}),  # those that the actors had when they started
    ):
        yield


class _NoTracker:
    """Takes the place of Ray Data's actor that knows the nodes of all other actors; is sent to each of them."""

    @property
    def update_actor_location(self) -> _NoTracker:
        return self

    def remote(self, *_: object) -> None:
        pass


@contextmanager
def _replaced(*attributes: tuple[Any, str, Any]) -> Generator[None]:
    """Replace attributes of classes and modules for the duration of a `with` block."""
    originals = [(owner, name, vars(owner)[name]) for owner, name, _ in attributes]
    for owner, name, value in attributes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in originals:
            setattr(owner, name, value)


def bound_queues() -> None:
    """Hold a stage back once twice as much of its results waits as the next one works on, even if memory is free."""
    from ray.data._internal.execution.backpressure_policy import DownstreamCapacityBackpressurePolicy

    DownstreamCapacityBackpressurePolicy.OBJECT_STORE_BUDGET_UTIL_THRESHOLD = 0.0


def shut_down() -> None:
    """Disconnect from Ray, and kill the processes that `ray.init` started."""
    node = worker._global_node
    if node is not None:
        kill = node.kill_all_processes
        node.kill_all_processes = lambda **options: kill(**{**options, "allow_graceful": False})
    ray.shutdown()


def session_folder() -> Path | None:
    """Return the folder of Ray's session on this node; None if this process is not connected to Ray."""
    node = worker._global_node
    return None if node is None or not ray.is_initialized() else Path(node.get_session_dir_path())


def log_folder() -> Path | None:
    """Return the folder of Ray's logs on this node; None if this process is not connected to Ray."""
    session = session_folder()
    return None if session is None else session / "logs"


def keep_sigterm_handler() -> None:
    """Stop Ray from replacing this process's handler of SIGTERM by one that exits at once with status 15."""
    utils.set_sigterm_handler = lambda _: None


def join_ray_data_threads(timeout_s: float) -> None:
    """Wait for the threads of Ray Data executions that have ended.

    A thread that calls Ray after `ray.shutdown` ends the process.

    Args:
        timeout_s: how long to wait for all of them together.
    """
    deadline = time.monotonic() + timeout_s
    for thread in threading.enumerate():
        if thread.name.startswith(_EXECUTOR_THREADS):
            thread.join(max(deadline - time.monotonic(), 0))
