"""What all manifests have in common. With XLM_KUBERAY_VALIDATOR, the operator's schemas are checked, too."""

import json
import math
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from jobs.job_file import load_job
from jobs.submission.kuberay import DAY_S, SPOT_LABELS, KubeRayOptions, cron_job, dump_manifests, ray_job
from pipelines.errors import FatalError
from tests.jobs.submission.kuberay.variants import IMAGE, KINDS, NIGHTLY, all_variants, make_job, pods, ray_job_spec

DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
VARIANTS = list(all_variants())


def manifest_of(kind: str, **given) -> list[dict]:
    return KINDS[kind](make_job(), KubeRayOptions(image=IMAGE, **given))


def test_yaml_is_read_back_as_the_same_values():
    for *_, manifests in VARIANTS:
        assert list(yaml.safe_load_all(dump_manifests(manifests))) == manifests


@given(st.lists(st.text() | st.sampled_from(["yes", "1e3", "0o17", "1_000", "~", "2026-01-01", "- a", "a: b", "#"])))
def test_any_text_is_read_back(texts):
    values = {"list": texts, **{f"key {i}": text for i, text in enumerate(texts)}}
    assert list(yaml.safe_load_all(dump_manifests([values, values]))) == [values, values]


def test_names_are_valid_and_objects_refer_to_each_other():
    for kind, _, options, manifests in VARIANTS:
        for manifest in manifests:
            name = manifest["metadata"]["name"]
            assert DNS_LABEL.fullmatch(name)
            assert manifest["metadata"]["namespace"] == options.namespace
        config_maps = {manifest["metadata"]["name"] for manifest in manifests if manifest["kind"] == "ConfigMap"}
        head, *_ = pods(ray_job_spec(manifests))
        assert head["volumes"][0]["configMap"]["name"] in config_maps
        if kind == "CronJob":
            by_kind = {manifest["kind"]: manifest for manifest in manifests}
            pod = by_kind["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
            account = by_kind["ServiceAccount"]["metadata"]
            assert pod["serviceAccountName"] == account["name"]
            assert by_kind["RoleBinding"]["subjects"] == [
                {"kind": "ServiceAccount", "name": account["name"], "namespace": options.namespace}
            ]
            assert by_kind["RoleBinding"]["roleRef"]["name"] == by_kind["Role"]["metadata"]["name"]
            assert pod["volumes"][0]["configMap"]["name"] in config_maps


def test_job_file_is_the_job(tmp_path):
    job = make_job("a.b_c-")
    manifests = ray_job(job, KubeRayOptions(image=IMAGE))
    path = tmp_path / "job.yaml"
    path.write_text(manifests[0]["data"]["job.yaml"], encoding="utf-8")
    assert load_job(path) == job
    spec = manifests[1]["spec"]
    head = pods(spec)[0]
    assert spec["entrypoint"] == f"xlm run {head['containers'][0]['volumeMounts'][0]['mountPath']}/job.yaml"


def test_cluster_is_removed_and_failures_are_retried():
    for *_, options, manifests in VARIANTS:
        spec = ray_job_spec(manifests)
        assert spec["shutdownAfterJobFinishes"]
        assert spec["ttlSecondsAfterFinished"] > 0
        assert spec["backoffLimit"] == options.retries
        assert spec["activeDeadlineSeconds"] == options.deadline_s <= DAY_S
        cluster = spec["rayClusterSpec"]
        assert cluster["enableInTreeAutoscaling"]
        assert cluster["rayVersion"] == version("ray")
        assert cluster["authOptions"] == {"mode": "token"}


def test_pods_have_time_to_finish_their_shards():
    job = make_job(policy={"stop_grace_s": 99.5})
    spec = ray_job(job, KubeRayOptions(image=IMAGE))[-1]["spec"]
    for pod in pods(spec):
        env = {item["name"]: int(item["value"]) for item in pod["containers"][0]["env"]}
        assert 100 < env["RAY_JOB_STOP_WAIT_TIME_S"] < pod["terminationGracePeriodSeconds"]
        assert 100 < env["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] < pod["terminationGracePeriodSeconds"]


def test_pods_are_probed_and_restricted():
    for kind, *_, manifests in VARIANTS:
        spec = ray_job_spec(manifests)
        submitter = spec["submitterPodTemplate"]["spec"]
        run = manifests[-1]["spec"]["jobTemplate"]["spec"]["template"]["spec"] if kind == "CronJob" else submitter
        for pod in (*pods(spec), submitter, run):
            assert pod["restartPolicy"] == "Never"
            assert pod["securityContext"]["runAsNonRoot"]
            assert pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False
            resources = pod["containers"][0]["resources"]
            assert resources["requests"] == resources["limits"]
        for pod in pods(spec):
            assert pod["containers"][0]["readinessProbe"]["httpGet"]["port"]
            assert pod["containers"][0]["livenessProbe"]["httpGet"]["port"] == 52365


def test_gpu_workers_have_the_gpus_of_a_model():
    for _, job, options, manifests in VARIANTS:
        spec = ray_job_spec(manifests)
        assert spec["rayClusterSpec"]["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
        for group in spec["rayClusterSpec"]["workerGroupSpecs"]:
            assert 0 <= group["minReplicas"] <= group["maxReplicas"] > 0
            container = group["template"]["spec"]["containers"][0]
            limits = container["resources"]["limits"]
            assert limits["cpu"] == str(options.worker_cpus)
            assert limits["memory"] == f"{options.worker_memory_gib}Gi"
            gpus = str(math.ceil(job.compute.gpus_per_model)) if group["groupName"] == "gpu" else None
            assert limits.get("nvidia.com/gpu") == gpus
            assert container["image"] == (options.gpu_image if gpus and options.gpu_image else options.image)


@pytest.mark.parametrize("provider", SPOT_LABELS)
def test_workers_may_be_lost_and_the_head_not(provider):
    key, value = SPOT_LABELS[provider]
    head, *workers = pods(ray_job_spec(manifest_of("RayJob", spot=provider)))
    terms = head["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms == [{"matchExpressions": [{"key": key, "operator": "NotIn", "values": [value]}]}]
    for pod in workers:
        assert pod["nodeSelector"] == {key: value}
        assert {"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"} in pod["tolerations"]


def test_secrets_are_referred_to(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    for kind in KINDS:
        manifests = manifest_of(kind, secrets=("object-store", "hub"))
        for pod in pods(ray_job_spec(manifests)):
            names = [source["secretRef"]["name"] for source in pod["containers"][0]["envFrom"]]
            assert names == ["object-store", "hub"]
        assert not [manifest for manifest in manifests if manifest["kind"] == "Secret"]
        assert "wJalrXUtnFEMI" not in json.dumps(manifests)


def test_scheduled_runs_do_not_overlap():
    spec = manifest_of("CronJob")[-1]["spec"]
    assert (spec["schedule"], spec["timeZone"]) == (NIGHTLY.cron, NIGHTLY.time_zone)
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    image = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert re.fullmatch(r".+:\d+\.\d+\.\d+", image)
    role = next(manifest for manifest in manifest_of("CronJob") if manifest["kind"] == "Role")
    assert role["rules"] == [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get"]}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"namespace": "Team A"}, "--namespace 'Team A': expected"),
        ({"namespace": "team.a"}, "--namespace 'team.a': expected"),
        ({"namespace": "a" * 64}, "--namespace 'aaaa"),
        ({"secrets": ("a", "b_c")}, "--secret 'b_c': expected"),
        ({"secrets": ("a..b",)}, "--secret 'a..b': expected"),
        ({"secrets": ("a\n",)}, "--secret 'a': expected"),
        ({"service_account": "a.-b"}, "--service-account 'a.-b': expected"),
        ({"service_account": ""}, "--service-account '': expected"),
        ({"image": "a b"}, "--image 'a b': expected an image"),
        ({"gpu_image": "$(x)"}, "--gpu-image '$(x)': expected an image"),
    ],
)
def test_names_that_kubernetes_refuses_are_errors(options, message):
    with pytest.raises(FatalError, match=re.escape(message)):
        KubeRayOptions(**{"image": IMAGE, **options})


def test_operator_accepts_all_manifests(tmp_path):
    validator = os.environ.get("XLM_KUBERAY_VALIDATOR")
    if validator is None:
        pytest.skip("XLM_KUBERAY_VALIDATOR is not set")
    documents = []
    for kind, *_, manifests in VARIANTS:
        template = yaml.safe_load(manifests[1]["data"]["ray-job.yaml"]) if kind == "CronJob" else None
        documents += [template] if template else manifests
    file = tmp_path / "manifests.yaml"
    file.write_text(dump_manifests(documents), encoding="utf-8")
    checked = subprocess.run([sys.executable, validator, file], capture_output=True, text=True, check=False)
    assert checked.stdout == f"{len(VARIANTS)} Ray manifests, 0 problems\n"
    # The validator finds mistakes in this file, too.
    file.write_text(file.read_text(encoding="utf-8").replace("backoffLimit", "backofLimit"), encoding="utf-8")
    assert subprocess.run([sys.executable, validator, Path(file)], capture_output=True, check=False).returncode == 1


def test_cron_job_has_a_name_per_run():
    template = yaml.safe_load(cron_job(make_job(), KubeRayOptions(image=IMAGE), NIGHTLY)[1]["data"]["ray-job.yaml"])
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "RUN_NAME", "uid": "RUN_UID"}
    assert template["metadata"]["ownerReferences"] == [owner]
    # The operator creates a Job with the name of the RayJob.
    assert template["metadata"]["name"] not in ("RUN_NAME", owner["name"])
