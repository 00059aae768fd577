"""The kustomize base and its overlays are what `xlm submit --kuberay` prints."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jobs.cli import main
from jobs.submission.kuberay import dump_manifests

FOLDER = Path(__file__).parents[2] / "infra" / "kuberay"
OPTIONS = {
    "base": [],
    "overlays/cpu-only": ["--gpu-workers", "0"],
    "overlays/gpu-spot": ["--spot", "gke"],
    "overlays/nightly": ["--schedule", "0 2 * * *", "--time-zone", "Europe/Berlin"],
}
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def printed(folder: str, capsys: pytest.CaptureFixture[str]) -> str:
    job = FOLDER / "base" / "job.yaml"
    assert main(["submit", str(job), "--kuberay", "--secret", "object-store", *OPTIONS[folder]]) == 0
    return capsys.readouterr().out


def kustomize(folder: Path) -> list[dict]:
    rendered = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(rendered.stdout))


def by_kind(manifests: list[dict]) -> list[dict]:
    return sorted(manifests, key=lambda manifest: manifest["kind"])


def test_all_overlays_are_tested():
    folders = {str(path.parent.relative_to(FOLDER)) for path in FOLDER.rglob("kustomization.yaml")}
    assert folders == set(OPTIONS)


def test_base_is_current(capsys):
    text = (FOLDER / "base" / "ray-job.yaml").read_text(encoding="utf-8")
    assert text == printed("base", capsys), "run `make manifests`"


@needs_kubectl
@pytest.mark.parametrize("folder", OPTIONS)
def test_kustomize_renders_what_the_command_prints(folder, capsys):
    expected = list(yaml.safe_load_all(printed(folder, capsys)))
    assert by_kind(kustomize(FOLDER / folder)) == by_kind(expected)


@needs_kubectl
def test_kustomize_sets_images_namespaces_and_secrets(tmp_path):
    """What infra/README.md tells to put into an overlay of one's own."""
    shutil.copytree(FOLDER, tmp_path / "kuberay")
    overlay = tmp_path / "kuberay" / "overlays" / "mine"
    overlay.mkdir()
    settings = {
        "resources": ["../gpu-spot"],
        "namespace": "nlp",
        "images": [{"name": "xlm-batch", "newName": "registry.example.com/xlm-batch"}],
    }
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    config_map, ray_job = by_kind(kustomize(overlay))
    assert config_map["metadata"]["namespace"] == ray_job["metadata"]["namespace"] == "nlp"
    cluster = ray_job["spec"]["rayClusterSpec"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    names = {pod["containers"][0]["image"].partition(":")[0] for pod in pods}
    assert names == {"registry.example.com/xlm-batch"}


@needs_kubectl
def test_other_yaml_parsers_read_the_same_texts(tmp_path):
    """Kubernetes parses YAML with Go's parser, which knows other numbers and dates than PyYAML."""
    texts = [
        "yes",
        "1e3",
        "0o17",
        "0b1",
        "1_000",
        "~",
        "2026-01-01",
        "- a",
        "a: b #",
        "'",
        '"',
        "\\",
        " a\n  b\n\n",
        "\t",
    ]
    texts += [
        "a\n",
        "\na",
        "0x1F",
        "+1",
        ".5",
        "1:30",
        "y",
        "NaN",
        "é",
        "{{a}}",
        "*a",
        "&a",
        "!a",
        "|",
        "12e03",
    ]
    data = {f"text-{i}": text for i, text in enumerate(texts)}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "texts"}, "data": data}
    (tmp_path / "texts.yaml").write_text(dump_manifests([config_map]), encoding="utf-8")
    (tmp_path / "kustomization.yaml").write_text("resources: [texts.yaml]\n", encoding="utf-8")
    assert kustomize(tmp_path) == [config_map]


@needs_kubectl
def test_operator_accepts_what_kustomize_renders(tmp_path):
    validator = os.environ.get("XLM_KUBERAY_VALIDATOR")
    if validator is None:
        pytest.skip("XLM_KUBERAY_VALIDATOR is not set")
    for number, folder in enumerate(OPTIONS):
        (tmp_path / f"{number}.yaml").write_text(dump_manifests(kustomize(FOLDER / folder)), encoding="utf-8")
    command = [sys.executable, validator, *sorted(tmp_path.iterdir())]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.stdout == f"{len(OPTIONS)} Ray manifests, 0 problems\n"
