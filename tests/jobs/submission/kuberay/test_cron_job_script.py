"""The script of a CronJob, run by a real shell with a hand-written `kubectl`."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from jobs.submission.kuberay import KubeRayOptions, cron_job
from tests.jobs.submission.kuberay.variants import IMAGE, NIGHTLY, make_job

# Creates what is not there, and answers each `get` of a status with the next line of the file `statuses`.
KUBECTL = """\
#!/bin/sh
cd "$(dirname "$0")"
echo "$*" >> calls
case "$*" in
  "create -f -") [ -e created ] && exit 1; cat > created ;;
  *"-o name") [ -e created ] ;;
  *) status=$(head -n 1 statuses); sed -i 1d statuses; [ "$status" != unreachable ] && echo "$status" ;;
esac
"""


class Cluster:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifests = cron_job(make_job("news"), KubeRayOptions(image=IMAGE), NIGHTLY)
        container = manifests[-1]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
        self.command = [part.replace("/etc/xlm", str(folder)) for part in container["command"]]
        self.template = manifests[1]["data"]["ray-job.yaml"]
        (folder / "ray-job.yaml").write_text(self.template, encoding="utf-8")
        kubectl = folder / "kubectl"
        kubectl.write_text(KUBECTL, encoding="utf-8")
        kubectl.chmod(0o755)

    def run(self, *statuses: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "statuses").write_text("".join(f"{status}\n" for status in statuses), encoding="utf-8")
        path = f"{self.folder}:{Path(shutil.which('sed') or '').parent}:/usr/bin:/bin"
        env = {"PATH": path, "RUN_NAME": "news-29000000", "RUN_UID": "0e2f-77", "POLL_S": "0"}
        return subprocess.run(self.command, env=env, capture_output=True, text=True, timeout=30, check=False)

    @property
    def created(self) -> dict:
        return yaml.safe_load((self.folder / "created").read_text(encoding="utf-8"))


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


def test_creates_a_ray_job_and_waits_for_it(cluster):
    result = cluster.run("", "Initializing ", "unreachable", "Running RUNNING", "Retrying ", "Complete SUCCEEDED")
    assert result.returncode == 0, result.stderr
    expected = yaml.safe_load(cluster.template)
    expected["metadata"]["name"] = "news-29000000-ray"
    expected["metadata"]["ownerReferences"][0] |= {"name": "news-29000000", "uid": "0e2f-77"}
    assert cluster.created == expected


@pytest.mark.parametrize("status", ["Failed FAILED", "Failed ", "Complete STOPPED"])
def test_fails_with_the_ray_job(cluster, status):
    result = cluster.run("Running RUNNING", status)
    assert (result.returncode, result.stderr) == (1, f"news-29000000-ray: {status}\n")


def test_second_pod_of_a_run_waits_for_the_same_ray_job(cluster):
    (cluster.folder / "created").write_text("kind: RayJob\n", encoding="utf-8")
    assert cluster.run("Running RUNNING", "Complete SUCCEEDED").returncode == 0
    assert cluster.created == {"kind": "RayJob"}


def test_fails_if_the_ray_job_cannot_be_created(cluster):
    (cluster.folder / "kubectl").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    assert cluster.run().returncode == 1
