"""Jobs and options in many variants, for tests of properties that all manifests have."""

import itertools

import yaml

from jobs.submission.kuberay import SPOT_LABELS, KubeRayOptions, Replicas, Schedule, cron_job, ray_cron_job, ray_job
from pipelines.job import Job

NIGHTLY = Schedule("0 2 * * *", "Europe/Berlin")
IMAGE = "registry.example.com/xlm-batch:0.1.0"

KINDS = {
    "RayJob": ray_job,
    "RayCronJob": lambda job, options: ray_cron_job(job, options, NIGHTLY),
    "CronJob": lambda job, options: cron_job(job, options, NIGHTLY),
}

COMPUTE = [
    {},
    {"models": 3},
    {"gpus_per_model": 0.5, "models": 5, "tokenizers": 40},
    {"gpus_per_model": 2.0, "models": 2},
    {"gpus_per_model": 0.0, "models": 6, "tokenizers": 7},
]

_GIVEN = [
    *({"spot": provider} for provider in SPOT_LABELS),
    {"secrets": ("object-store", "hub"), "service_account": "annotator", "namespace": "nlp"},
    {"cpu_workers": Replicas(1, 100), "gpu_workers": Replicas(1, 50), "worker_cpus": 15, "worker_memory_gib": 100},
    {"gpu_image": IMAGE + "-cuda", "deadline_s": 600, "retries": 0},
    {"gpu_workers": Replicas(0, 0)},
]


def make_job(name: str = "news", compute: dict[str, object] | None = None, **sections: object) -> Job:
    settings = {
        "name": name,
        "input": {"path": "s3://corpus/news/", "id": "doc_id", "text": "body", "lang": "lang"},
        "model": {"checkpoint": "s3://models/xlm"},
        "tasks": [{"feature-extraction": {}}],
        "output": {"path": "s3://out/news"},
        "compute": {"address": "auto", **(compute or {})},
    }
    return Job.model_validate({**settings, **sections})


def all_variants():
    """Yield the kind, the job, the options and the manifests."""
    for kind, (compute, given) in itertools.product(
        KINDS, [*((compute, {}) for compute in COMPUTE), *(({}, given) for given in _GIVEN)]
    ):
        job, options = make_job(compute=compute), KubeRayOptions(image=IMAGE, **given)
        yield kind, job, options, KINDS[kind](job, options)


def ray_job_spec(manifests: list) -> dict:
    """Return the specification of the RayJob that manifests create."""
    last = manifests[-1]
    if last["kind"] == "RayJob":
        return last["spec"]
    if last["kind"] == "RayCronJob":
        return last["spec"]["jobTemplate"]
    return yaml.safe_load(manifests[1]["data"]["ray-job.yaml"])["spec"]


def pods(spec: dict) -> list[dict]:
    """Return the pods of a cluster: the head first, then one of each group of workers."""
    cluster = spec["rayClusterSpec"]
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
