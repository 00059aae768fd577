"""`xlm submit --kuberay`: one command prints manifests, without Ray and without a cluster."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jobs.cli import main
from jobs.commands.cluster.manifests import PROVIDERS
from jobs.submission.kuberay import DAY_S, SPOT_LABELS


@pytest.fixture
def submit(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    job = tmp_path / "job.yaml"
    job.write_text(
        "name: News.1e3\n"
        "input: {path: s3://corpus/news/, text: body, lang: lang, filter: \"url != '# a: *b'\"}\n"
        "model: {checkpoint: s3://models/xlm}\n"
        "tasks: [feature-extraction]\n"
        "output: {path: s3://out/news}\n",
        encoding="utf-8",
    )

    def run(*options: str) -> tuple[int, list[dict], str]:
        status = main(["submit", str(job), *options])
        out, err = capsys.readouterr()
        return status, list(yaml.safe_load_all(out)), err

    return run


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ([], ["ConfigMap", "RayJob"]),
        (["--schedule", "0 2 * * *", "--time-zone", "Europe/Berlin"], ["ConfigMap", "RayCronJob"]),
        (
            ["--schedule", "0 2 * * *", "--plain-cron-job"],
            ["ConfigMap", "ConfigMap", "ServiceAccount", "Role", "RoleBinding", "CronJob"],
        ),
    ],
)
def test_prints_manifests(submit, options, kinds):
    status, manifests, errors = submit("--kuberay", *options)
    assert (status, errors) == (0, "")
    assert [manifest["kind"] for manifest in manifests] == kinds


def test_address_of_the_environment_is_for_other_commands(submit, monkeypatch):
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://head:8265")
    assert submit("--kuberay")[0] == 0


def test_characters_that_stdout_cannot_encode_are_an_error(submit, monkeypatch):
    """An escaped character would be another job."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    status, _, errors = submit("--kuberay", "--set", "input.filter=name == 'Łódź'")
    message = r"stdout has the encoding latin-1, which does not have '\u0141'; set PYTHONIOENCODING=utf-8"
    assert (status, errors) == (2, f"xlm: {message}\n")


def test_overrides_are_in_the_job_file(submit):
    _, (config_map, ray_job), _ = submit(
        "--kuberay", "--set", "compute.models=6", "--set", "compute.gpus_per_model=0.5"
    )
    job = yaml.safe_load(config_map["data"]["job.yaml"])
    assert job["compute"] | {"models": 6, "gpus_per_model": 0.5, "address": "auto"} == job["compute"]
    assert job["input"]["filter"] == "url != '# a: *b'"
    gpu = ray_job["spec"]["rayClusterSpec"]["workerGroupSpecs"][1]
    assert (gpu["groupName"], gpu["maxReplicas"]) == ("gpu", 3)


def test_default_images_are_those_of_the_dockerfile(submit):
    def images(*options: str) -> list[str]:
        _, (_, ray_job), _ = submit("--kuberay", *options)
        cluster = ray_job["spec"]["rayClusterSpec"]
        groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
        return [group["template"]["spec"]["containers"][0]["image"].rpartition("-")[2] for group in groups]

    assert images() == ["cpu", "cpu", "cuda"]
    assert images("--image", "a-b") == ["b", "b", "b"]
    assert images("--image", "a-b", "--gpu-image", "a-c") == ["b", "b", "c"]


@pytest.mark.parametrize(
    ("options", "deadline_s"),
    [
        ([], DAY_S),
        (["--deadline-hours", "1.5"], 5400),
        (["--schedule", "0 1,5 * * *"], 4 * 3600),
    ],
)
def test_runs_have_a_deadline(submit, options, deadline_s):
    _, manifests, _ = submit("--kuberay", *options)
    spec = manifests[-1]["spec"]
    assert spec.get("jobTemplate", spec)["activeDeadlineSeconds"] == deadline_s


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "missing option '--address'"),
        (["--spot", "gke"], "--spot is for manifests; add --kuberay"),
        (["--secret", "a"], "--secret is for manifests; add --kuberay"),
        (["--retries", "0"], "--retries is for manifests; add --kuberay"),
        (["--kuberay", "--time-zone", "Etc/UTC"], "--time-zone is for scheduled jobs; add --schedule"),
        (["--kuberay", "--plain-cron-job"], "--plain-cron-job is for scheduled jobs; add --schedule"),
        (
            ["--kuberay", "--address", "http://head:8265"],
            "--kuberay takes the job file, --set and options of manifests",
        ),
        (["--kuberay", "--stop"], "--kuberay takes the job file, --set and options of manifests"),
        (["--kuberay", "--schedule", "0 2 * *"], "--schedule '0 2 * *': got 4 fields"),
        (["--kuberay", "--cpu-workers", "2:1"], "--cpu-workers: got '2:1', expected MAX or MIN:MAX"),
        (["--kuberay", "--spot", "azure"], "invalid value for '--spot'"),
        (["--kuberay", "--deadline-hours", "nan"], "--deadline-hours: got nan, expected a number of hours"),
        (["--kuberay", "--cpu-workers", "0", "--gpu-workers", "0"], "--cpu-workers allows 0 pods and --gpu-workers 0"),
        (["--kuberay", "--image", ""], "--image '': expected an image"),
        (["--kuberay", "--gpu-image", ""], "--gpu-image '': expected an image"),
        (["--kuberay", "--schedule", "0 2 * * *", "--time-zone", ""], "--time-zone : not a time zone"),
    ],
)
def test_invalid_options_are_one_line(submit, monkeypatch, options, message):
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    status, manifests, errors = submit(*options)
    assert (status, manifests) == (2, [])
    assert errors.startswith(f"xlm: {message}")
    assert errors.count("\n") == 1


def test_trainings_are_for_clusters_that_run_already(submit, tmp_path):
    job = tmp_path / "job.yaml"
    job.write_text("vocabulary: {input: {path: texts, text: t, lang: l}}\noutput: {path: out}\n")
    message = "--kuberay: the job is one of xlm train; start a cluster, and submit the job with --address"
    assert submit("--kuberay") == (2, [], f"xlm: {message}\n")


def test_files_that_the_cluster_does_not_have_are_named(submit, tmp_path):
    _, _, errors = submit("--kuberay", "--set", f"input.path={tmp_path}")
    assert errors == f"xlm: these files are not on the cluster, unless its pods mount a volume with them: {tmp_path}\n"


def test_providers_are_those_with_labels():
    assert set(PROVIDERS) == set(SPOT_LABELS)


def test_ray_and_torch_are_not_imported(tmp_path):
    program = """
import sys
from jobs.cli import main
assert main(["submit", "jobs/specs/embed.yaml", "--kuberay"]) == 0
assert {"ray", "torch"}.isdisjoint(sys.modules)
"""
    root = Path(__file__).parents[4]
    ended = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
