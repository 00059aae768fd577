"""A job as a CronJob of Kubernetes itself: each run creates a RayJob and waits for it, so runs never overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs.submission.kuberay.manifest_yaml import dump_manifests
from jobs.submission.kuberay.names import RUN_SUFFIX
from jobs.submission.kuberay.pods import JOB_FOLDER, RESTRICTED, pod_security
from jobs.submission.kuberay.ray_job import API_VERSION, job_file, metadata, ray_job_spec

if TYPE_CHECKING:
    from jobs.submission.kuberay.options import KubeRayOptions
    from jobs.submission.kuberay.schedule import Schedule
    from pipelines.job import Job

KUBECTL_IMAGE = "alpine/kubectl:1.34.1"

_START_WITHIN_S = 3600  # after this, a run that Kubernetes could not start is skipped
_KEEP_RUNS = 3
_TEMPLATE = "ray-job.yaml"
_CONTAINER_RESOURCES = {"cpu": "100m", "memory": "128Mi"}

# The pod may be evicted and started again: the name of the RayJob follows from that of the Kubernetes Job, so the
# second pod finds it. The names differ, because the operator creates a Job with the name of the RayJob. The RayJob
# belongs to the first Job, and is deleted with it.
_SCRIPT = f"""\
set -eu
run=$RUN_NAME{RUN_SUFFIX}
sed "1,/^spec:/{{s/RUN_NAME/$RUN_NAME/;s/RUN_UID/$RUN_UID/}}" {JOB_FOLDER}/{_TEMPLATE} | kubectl create -f - ||
  kubectl get rayjobs.ray.io "$run" -o name
while :; do
  status=$(kubectl get rayjobs.ray.io "$run" \\
    -o 'jsonpath={{.status.jobDeploymentStatus}} {{.status.jobStatus}}') || status=unreachable
  case $status in
    "Complete SUCCEEDED") exit 0 ;;
    Complete*|Failed*) echo "$run: $status" >&2; exit 1 ;;
  esac
  sleep "${{POLL_S:-15}}"
done
"""


def cron_job(job: Job, options: KubeRayOptions, schedule: Schedule) -> list[dict[str, Any]]:
    """Return the manifests that run a job on a schedule, for operators without RayCronJob."""
    meta = metadata(job, options)
    name = meta["name"]
    ray_job = {
        "apiVersion": API_VERSION,
        "kind": "RayJob",
        "metadata": {
            **meta,
            "name": f"RUN_NAME{RUN_SUFFIX}",
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "RUN_NAME", "uid": "RUN_UID"}],
        },
        "spec": ray_job_spec(job, options),
    }
    template = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {**meta, "name": f"{name}-run"},
        "data": {_TEMPLATE: dump_manifests([ray_job])},
    }
    rules = [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get"]}]
    subject = {"kind": "ServiceAccount", "name": f"{name}-run", "namespace": options.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": f"{name}-run"}
    rbac, run_meta = {"apiVersion": "rbac.authorization.k8s.io/v1"}, template["metadata"]
    return [
        job_file(job, options),
        template,
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": run_meta},
        {**rbac, "kind": "Role", "metadata": run_meta, "rules": rules},
        {**rbac, "kind": "RoleBinding", "metadata": run_meta, "subjects": [subject], "roleRef": role},
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": meta,
            "spec": {
                "schedule": schedule.cron,
                "timeZone": schedule.time_zone,
                "concurrencyPolicy": "Forbid",
                "startingDeadlineSeconds": _START_WITHIN_S,
                "successfulJobsHistoryLimit": _KEEP_RUNS,
                "failedJobsHistoryLimit": _KEEP_RUNS,
                "jobTemplate": {"spec": _kubernetes_job(name)},
            },
        },
    ]


def _kubernetes_job(name: str) -> dict[str, Any]:
    def from_label(variable: str, label: str) -> dict[str, Any]:
        path = f"metadata.labels['batch.kubernetes.io/{label}']"
        return {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": path}}}

    container = {
        "name": "kubectl",
        "image": KUBECTL_IMAGE,
        "command": ["/bin/sh", "-c", _SCRIPT],
        "env": [from_label("RUN_NAME", "job-name"), from_label("RUN_UID", "controller-uid")],
        "resources": {"requests": _CONTAINER_RESOURCES, "limits": _CONTAINER_RESOURCES},
        "securityContext": {**RESTRICTED, "readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": "run", "mountPath": JOB_FOLDER, "readOnly": True}],
    }
    return {
        # Only an evicted pod is started again. The operator retries a failed job.
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]},
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "serviceAccountName": f"{name}-run",
                "securityContext": pod_security(),
                "containers": [container],
                "volumes": [{"name": "run", "configMap": {"name": f"{name}-run"}}],
            }
        },
    }
