"""Files of TensorBoard and MLflow have all points of the curves, and other programs read them."""

import hashlib
from pathlib import Path

import pytest
import yaml

from pipelines.storage import locate
from pipelines.train.reporting.mlflow import mlflow_files
from pipelines.train.reporting.scalars import Scalar, list_scalars
from pipelines.train.reporting.tensorboard import event_file_name, event_files
from tests.pipelines.train.reporting.example_training import make_history, make_report


def test_scalars_are_the_points_of_the_curves():
    scalars = list_scalars(make_history(400, points=2))
    assert len(scalars) == 200 * 4 + 4 * 2  # loss, norm, rate and speed; loss and accuracy
    assert [s.step for s in scalars] == sorted(s.step for s in scalars)
    dev = [s for s in scalars if s.run == "dev" and s.name == "accuracy/upos"]
    assert [(s.step, s.value) for s in dev] == [(100, 0.1), (200, 0.2), (300, 0.3), (400, 0.4)]
    assert [s.time_s - 1_764_460_000 for s in dev] == [50, 100, 150, 200]


def test_event_files_are_those_of_the_package():
    scalars = [Scalar("train", "loss/ü", step, 1_764_460_000.25 + step, 0.5 / step) for step in (1, 127, 128, 40_000)]
    content = event_files(scalars)["train"]
    # written by RecordWriter and event_pb2 of tensorboard 2.21
    assert hashlib.sha256(content).hexdigest() == "aac917114e40ce037f3dcf2068eb3ce5cb90245b0555cd46e9e22443d4d87efa"


def test_tensorboard_reads_the_event_files(tmp_path: Path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    scalars = list_scalars(make_history(120))
    for run, content in event_files(scalars).items():
        (tmp_path / run).mkdir()
        (tmp_path / run / event_file_name(120)).write_bytes(content)
        events = accumulator.EventAccumulator(str(tmp_path / run))
        events.Reload()
        names = events.Tags()["scalars"]
        found = {(name, event.step, event.wall_time) for name in names for event in events.Scalars(name)}
        assert found == {(s.name, s.step, s.time_s) for s in scalars if s.run == run}


def test_mlflow_files_have_settings_metrics_and_status(tmp_path: Path):
    scalars = list_scalars(make_history(120))
    files = mlflow_files(make_report(120, "interrupted"), scalars, locate(str(tmp_path)), "identity")
    assert files.keys() == mlflow_files(make_report(), scalars, locate(str(tmp_path)), "identity").keys()
    run = next(path.removesuffix("/artifacts/job.yaml") for path in files if path.endswith("job.yaml"))
    meta = yaml.safe_load(files[f"{run}/meta.yaml"])
    assert (meta["status"], meta["run_name"], meta["start_time"]) == (5, "tags", 1_764_460_000_000)
    assert files[f"{run}/params/objectives.0.token-classification.label"] == b"upos"
    assert files[f"{run}/metrics/dev_accuracy/upos"] == b"1764460050000 0.1 100\n"
    assert len(files[f"{run}/metrics/learning_rate"].splitlines()) == 120


def test_names_of_settings_are_safe_names_of_files(tmp_path: Path):
    report = make_report(1)
    report["settings"]["model"]["config"] = {"../../x": 1, "y" * 300: 2}
    paths = mlflow_files(report, [], locate(str(tmp_path)), "identity").keys()
    assert all(len(part) <= 200 and part not in ("", ".", "..") for path in paths for part in path.split("/"))
    assert sum("params" in path and path.count("/") == 3 for path in paths) == sum("params" in path for path in paths)


def test_mlflow_reads_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    tracking = pytest.importorskip("mlflow.tracking")
    files = mlflow_files(make_report(), list_scalars(make_history(400)), locate(str(tmp_path)), "identity")
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    client = tracking.MlflowClient(tmp_path.as_uri())
    experiment = client.get_experiment_by_name("tags")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.data.params["training.steps"]) == ("FINISHED", "400")
    history = client.get_metric_history(run.info.run_id, "dev_loss/upos")
    assert [(metric.step, metric.value) for metric in history] == [
        (100, 0.05),
        (200, 0.025),
        (300, 5 / 300),
        (400, 0.0125),
    ]
