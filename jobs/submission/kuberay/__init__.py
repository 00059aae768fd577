"""A job as manifests for Kubernetes with the KubeRay operator."""

from jobs.submission.kuberay.cron_job import cron_job
from jobs.submission.kuberay.manifest_yaml import dump_manifests
from jobs.submission.kuberay.options import SPOT_LABELS, KubeRayOptions, Replicas
from jobs.submission.kuberay.ray_job import ray_cron_job, ray_job
from jobs.submission.kuberay.schedule import DAY_S, Schedule

__all__ = [
    "DAY_S",
    "SPOT_LABELS",
    "KubeRayOptions",
    "Replicas",
    "Schedule",
    "cron_job",
    "dump_manifests",
    "ray_cron_job",
    "ray_job",
]
