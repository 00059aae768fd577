"""What is shipped to a cluster, and the program that starts it there."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

from jobs.job_file import load_job, load_training_job
from jobs.submission import ship_job
from pipelines.errors import FatalError
from xlm_core import content_hash
from xlm_core.builtin import builtin_directory

JOB = """
name: news
input: {path: [corpus/year=20*/, s3://bucket/corpus, "file:///data/a%20b"], text: t, lang: l}
model: {checkpoint: ../checkpoint}
tasks:
  - feature-extraction: {dtype: int8, calibration: ~/sample}
  - text-classification: {head: hf://org/topic}
tokenizer: {kytea_model: model.bin}
output: {path: out}
compute: {address: local, models: 2}
"""

TRAINING = """
name: topics
model: {checkpoint: hf://org/xlm}
objectives:
  - text-classification: {input: {path: train/, text: t, lang: l}, label: topic, dev: {path: s3://bucket/dev}}
training: {epochs: 1}
output: {path: out}
"""


@pytest.fixture
def job_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "job.yaml").write_text(JOB)
    (folder / "large.bin").write_bytes(b"not shipped")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", "/home/me")
    return folder / "job.yaml"


@pytest.fixture
def shipped_folder(job_file: Path, tmp_path: Path) -> Path:
    ship_job(str(job_file)).write(tmp_path / "job.zip")
    with ZipFile(tmp_path / "job.zip") as archive:
        archive.extractall(tmp_path / "shipped")
    return tmp_path / "shipped"


def test_local_paths_are_absolute_and_the_job_joins_the_cluster(job_file):
    here = job_file.parent
    shipped = ship_job(str(job_file), ["batch.max_tokens=99"])
    settings = yaml.safe_load(shipped.yaml)
    assert settings["input"]["path"] == [f"{here}/corpus/year=20*/", "s3://bucket/corpus", "/data/a b"]
    assert settings["model"]["checkpoint"] == str(here.parent / "checkpoint")
    assert settings["tasks"][0]["feature-extraction"]["calibration"] == "/home/me/sample"
    assert settings["tasks"][1]["text-classification"]["head"] == "hf://org/topic"
    assert settings["tokenizer"]["kytea_model"] == f"{here}/model.bin"
    assert settings["output"]["path"] == f"{here}/out"
    assert (settings["compute"]["address"], settings["compute"]["models"]) == ("auto", 2)
    assert settings["batch"]["max_tokens"] == 99
    assert f"{here}/out" in shipped.local_paths
    assert "s3://bucket/corpus" not in shipped.local_paths


def test_same_name_and_output_have_the_same_id(job_file):
    default = ship_job(str(job_file))
    assert default.submission_id == ship_job(str(job_file), ["batch.max_tokens=99"]).submission_id
    assert default.submission_id != ship_job(str(job_file), ["output.path=elsewhere"]).submission_id
    assert default.submission_id.startswith("news-")


def test_shipped_are_the_job_and_the_code_alone(shipped_folder):
    """Less than the 1 MiB that nginx accepts by default."""
    top = sorted(path.name for path in shipped_folder.iterdir() if not path.name.endswith(".dist-info"))
    assert top == ["job.yaml", "jobs", "pipelines", "run_job.py", "xlm_core"]
    assert list(shipped_folder.rglob("__pycache__")) == []
    assert (shipped_folder / "jobs" / "demo" / "corpus.jsonl").exists()
    assert 100_000 < (shipped_folder.parent / "job.zip").stat().st_size < 2**20
    assert load_job(shipped_folder / "job.yaml").name == "news"


def test_checkpoint_of_the_package_is_shipped_if_the_job_names_it(job_file, shipped_folder, tmp_path):
    assert not list((shipped_folder / "xlm_core" / "builtin").glob("small/*"))
    ship_job(str(job_file), ["input.lang=detect"]).write(tmp_path / "job.zip")
    with ZipFile(tmp_path / "job.zip") as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "xlm_core/builtin/small"
    assert content_hash(folder) == content_hash(builtin_directory("builtin://small"))
    assert (folder / "heads/language/model.safetensors").exists()


def test_training_is_shipped_with_the_code_that_trains(job_file, tmp_path):
    job_file.write_text(TRAINING)
    shipped = ship_job(str(job_file), ["compute.workers=2"])
    assert shipped.command == "train"
    shipped.write(tmp_path / "job.zip")
    with ZipFile(tmp_path / "job.zip") as archive:
        archive.extractall(tmp_path / "shipped")
    for folder in ("pipelines/train", "xlm_core/training", "xlm_core/vocabulary"):
        assert (tmp_path / "shipped" / folder / "__init__.py").exists()
    job = load_training_job(tmp_path / "shipped" / "job.yaml")
    (objective,) = job.objectives
    assert (objective.input.path, objective.dev.path) == (f"{job_file.parent}/train/", "s3://bucket/dev")
    assert (job.compute.address, job.compute.workers) == ("auto", 2)


def test_same_job_is_shipped_in_the_same_bytes(job_file, tmp_path):
    archives = [tmp_path / "a.zip", tmp_path / "b.zip"]
    for path in archives:
        ship_job(str(job_file)).write(path)
    assert archives[0].read_bytes() == archives[1].read_bytes()


def test_file_url_of_another_host_is_refused(job_file):
    with pytest.raises(FatalError, match="not the URL of a local file"):
        ship_job(str(job_file), ["output.path=file://host/out"])


def start(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Start the shipped program, as on a head."""
    command = [sys.executable, *options, "run_job.py", "run", "missing.yaml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={"HOME": str(folder)}, check=False)


@pytest.mark.long
def test_program_on_the_head_runs_the_shipped_code(shipped_folder):
    (shipped_folder / "jobs" / "exit_status.py").write_text("raise SystemExit('shipped code')")
    assert start(shipped_folder).stderr == "shipped code\n"


def test_program_on_the_head_names_missing_packages(shipped_folder):
    ended = start(shipped_folder, "-S")  # without installed packages
    assert ended.returncode == 2
    assert ended.stderr.startswith("xlm: the head needs the packages ")
    assert " sacremoses, " in ended.stderr
    assert "kytea" not in ended.stderr
    assert ended.stderr.endswith("; start the cluster with the image of infra/docker, or add --pip to xlm submit\n")


def test_program_on_the_head_names_versions_that_differ(shipped_folder):
    change_metadata(shipped_folder, "Requires-Dist: sacremoses>=0.2.0", "Requires-Dist: sacremoses>=99")
    ended = start(shipped_folder)
    assert ended.returncode == 2
    assert "the head needs the packages sacremoses>=99 (it has " in ended.stderr


def test_program_on_the_head_refuses_an_old_python(shipped_folder):
    change_metadata(shipped_folder, "Requires-Python: >=3.11", "Requires-Python: >=3.99")
    ended = start(shipped_folder)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert f"the head's {sys.executable} is Python 3." in ended.stderr
    assert "expected 3.99 or later; start the cluster with the image" in ended.stderr


def change_metadata(folder: Path, old: str, new: str) -> None:
    (metadata,) = folder.glob("*.dist-info/METADATA")
    text = metadata.read_text(encoding="utf-8")
    assert old in text
    metadata.write_text(text.replace(old, new), encoding="utf-8")
