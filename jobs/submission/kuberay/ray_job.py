"""A job as objects of KubeRay: a RayJob, which runs once, or a RayCronJob, which runs it on a schedule."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Any

from jobs.job_file import dump_job
from jobs.submission.kuberay.names import kubernetes_name
from jobs.submission.kuberay.pods import JOB_FILE, JOB_FOLDER, RESTRICTED, head_group, submitter_pod, worker_group
from jobs.submission.kuberay.worker_groups import worker_groups

if TYPE_CHECKING:
    from jobs.submission.kuberay.options import KubeRayOptions
    from jobs.submission.kuberay.schedule import Schedule
    from pipelines.job import Job

API_VERSION = "ray.io/v1"

_KEEP_CLUSTER_S = 300  # after a run, to look at its dashboard
_IDLE_WORKER_S = 120
_AUTOSCALER = {"cpu": "500m", "memory": "512Mi"}


def ray_job(job: Job, options: KubeRayOptions) -> list[dict[str, Any]]:
    """Return the manifests that run a job once.

    Args:
        job: with `compute.address: auto`, so that it joins the cluster.
        options: what the cluster looks like.
    """
    meta = metadata(job, options)
    return [
        job_file(job, options),
        {"apiVersion": API_VERSION, "kind": "RayJob", "metadata": meta, "spec": ray_job_spec(job, options)},
    ]


def ray_cron_job(job: Job, options: KubeRayOptions, schedule: Schedule) -> list[dict[str, Any]]:
    """Return the manifests that run a job on a schedule. The operator needs its feature gate RayCronJob."""
    spec = {
        "schedule": schedule.cron,
        "timeZone": schedule.time_zone,
        "jobTemplate": ray_job_spec(job, options),
    }
    meta = metadata(job, options)
    return [
        job_file(job, options),
        {"apiVersion": API_VERSION, "kind": "RayCronJob", "metadata": meta, "spec": spec},
    ]


def metadata(job: Job, options: KubeRayOptions) -> dict[str, Any]:
    """Return the metadata of the objects of a job, which all have one name."""
    name = kubernetes_name(job.name)
    labels = {"app.kubernetes.io/name": "xlm-batch", "app.kubernetes.io/instance": name}
    return {"name": name, "namespace": options.namespace, "labels": labels}


def job_file(job: Job, options: KubeRayOptions) -> dict[str, Any]:
    """Return the ConfigMap with the job file."""
    data = {JOB_FILE: dump_job(job)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(job, options), "data": data}


def ray_job_spec(job: Job, options: KubeRayOptions) -> dict[str, Any]:
    """Return the specification of a RayJob."""
    grace_s = job.policy.stop_grace_s
    found = worker_groups(job.compute, options, detects_lang=bool(job.input.detected_columns))
    groups = [worker_group(group, options, grace_s) for group in found]
    return {
        "entrypoint": f"xlm run {JOB_FOLDER}/{JOB_FILE}",
        "submissionMode": "K8sJobMode",
        "submitterPodTemplate": submitter_pod(options),
        # Each retry is a new cluster, on which the run resumes.
        "backoffLimit": options.retries,
        "activeDeadlineSeconds": options.deadline_s,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": _KEEP_CLUSTER_S,
        "rayClusterSpec": {
            "rayVersion": importlib.metadata.version("ray"),
            "authOptions": {"mode": "token"},  # whoever reaches the dashboard of a cluster can run code there
            "enableInTreeAutoscaling": True,
            "autoscalerOptions": {
                "version": "v2",
                "idleTimeoutSeconds": _IDLE_WORKER_S,
                "resources": {"requests": _AUTOSCALER, "limits": _AUTOSCALER},
                "securityContext": RESTRICTED,
            },
            "headGroupSpec": head_group(kubernetes_name(job.name), options, grace_s),
            "workerGroupSpecs": groups,
        },
    }
