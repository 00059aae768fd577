"""The pods of a cluster: the head, which the driver runs on, workers, and the pod that submits the job."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from jobs.submission.kuberay.options import SPOT_LABELS

if TYPE_CHECKING:
    from jobs.submission.kuberay.options import KubeRayOptions
    from jobs.submission.kuberay.worker_groups import WorkerGroup

JOB_FOLDER, JOB_FILE = "/etc/xlm", "job.yaml"

# After SIGTERM, Ray reports a node as about to be removed, and waits this long, in which a run finishes its shards in
# flight. The run looks for such nodes every 5 s, and ends some seconds after the grace period of its shards.
_DRAIN_MARGIN_S = 30
_KILL_MARGIN_S = 15  # Ray then stops its own processes

_METRICS_PORT, _DASHBOARD_PORT, _AGENT_PORT = 8080, 8265, 52365
_GPU = "nvidia.com/gpu"
_HEAD = {"cpu": "2", "memory": "8Gi"}
_SUBMITTER = {"cpu": "500m", "memory": "1Gi"}
_USER_ID = 1000  # of the image

RESTRICTED: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}


def head_group(name: str, options: KubeRayOptions, stop_grace_s: float) -> dict[str, Any]:
    """Return the head. It has no CPUs for tasks, so that workers are where the worker groups put them."""
    pod = _ray_pod(options, options.image, _HEAD, stop_grace_s, probe=(_DASHBOARD_PORT, "/api/gcs_healthz"))
    container = pod["spec"]["containers"][0]
    container["ports"] = [
        {"name": "gcs-server", "containerPort": 6379},
        {"name": "dashboard", "containerPort": _DASHBOARD_PORT},
        *container["ports"],
    ]
    container["volumeMounts"] = [{"name": "job", "mountPath": JOB_FOLDER, "readOnly": True}]
    pod["spec"]["volumes"] = [{"name": "job", "configMap": {"name": name}}]
    if options.spot is not None:  # a run survives the loss of workers, but starts again without its head
        key, value = SPOT_LABELS[options.spot]
        terms = [{"matchExpressions": [{"key": key, "operator": "NotIn", "values": [value]}]}]
        pod["spec"]["affinity"] = {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        }
    return {"rayStartParams": {"num-cpus": "0"}, "template": pod}


def worker_group(group: WorkerGroup, options: KubeRayOptions, stop_grace_s: float) -> dict[str, Any]:
    """Return a group of workers."""
    resources = {"cpu": str(group.cpus), "memory": f"{group.memory_gib}Gi"}
    tolerations: list[dict[str, Any]] = []
    image = options.image
    if group.gpus:
        image = options.gpu_image or image
        resources[_GPU] = str(group.gpus)
        tolerations.append({"key": _GPU, "operator": "Exists", "effect": "NoSchedule"})
    pod = _ray_pod(options, image, resources, stop_grace_s, probe=(_AGENT_PORT, "/api/healthz"))
    if options.spot is not None:
        key, value = SPOT_LABELS[options.spot]
        pod["spec"]["nodeSelector"] = {key: value}
        tolerations.append({"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"})
    if tolerations:
        pod["spec"]["tolerations"] = tolerations
    return {
        "groupName": group.name,
        "replicas": group.replicas.low,
        "minReplicas": group.replicas.low,
        "maxReplicas": group.replicas.high,
        "rayStartParams": {},
        "template": pod,
    }


def submitter_pod(options: KubeRayOptions) -> dict[str, Any]:
    """Return the pod that hands the job to the head and prints its log."""
    container = {
        "name": "submitter",
        "image": options.image,
        "resources": {"requests": _SUBMITTER, "limits": _SUBMITTER},
        "securityContext": RESTRICTED,
    }
    return {"spec": {"restartPolicy": "Never", "securityContext": pod_security(), "containers": [container]}}


def pod_security() -> dict[str, Any]:
    """Return the security context of a pod that passes the restricted Pod Security Standard."""
    return {"runAsNonRoot": True, "runAsUser": _USER_ID, "seccompProfile": {"type": "RuntimeDefault"}}


def _ray_pod(
    options: KubeRayOptions, image: str, resources: dict[str, str], stop_grace_s: float, probe: tuple[int, str]
) -> dict[str, Any]:
    drain_s = math.ceil(stop_grace_s) + _DRAIN_MARGIN_S
    port, path = probe
    container: dict[str, Any] = {
        "name": "ray",
        "image": image,
        "env": [
            # of `ray job stop`; by default, Ray kills a driver 3 s after SIGTERM
            {"name": "RAY_JOB_STOP_WAIT_TIME_S", "value": str(drain_s)},
            {"name": "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", "value": str(drain_s)},
        ],
        "ports": [{"name": "metrics", "containerPort": _METRICS_PORT}],
        "resources": {"requests": resources, "limits": resources},
        # The operator's own probes need wget in the image.
        "readinessProbe": {"httpGet": {"path": path, "port": port}, "periodSeconds": 5, "timeoutSeconds": 5},
        "livenessProbe": {
            "httpGet": {"path": "/api/healthz", "port": _AGENT_PORT},
            "initialDelaySeconds": 30,
            "periodSeconds": 10,
            "timeoutSeconds": 10,
            "failureThreshold": 12,
        },
        "securityContext": RESTRICTED,
    }
    if options.secrets:
        container["envFrom"] = [{"secretRef": {"name": name}} for name in options.secrets]
    spec: dict[str, Any] = {
        "restartPolicy": "Never",  # the autoscaler replaces a pod that ends
        "terminationGracePeriodSeconds": drain_s + _KILL_MARGIN_S,
        "securityContext": pod_security(),
        "containers": [container],
    }
    if options.service_account is not None:
        spec["serviceAccountName"] = options.service_account
    return {"spec": spec}
