"""Files of a report, as they are written to a store during a training that is killed and resumes."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.checkpoints import pin_checkpoint
from pipelines.storage import Location, locate
from pipelines.train.prepare import PreparedTraining
from pipelines.train.reporting import Reporter
from pipelines.train.reporting.scalars import list_scalars
from pipelines.train.reporting.tensorboard import event_files
from pipelines.training_job import TrainingJob
from tests.pipelines.train.reporting.example_training import make_history, make_job
from xlm_core import XLMConfig

NUMBERS = {"rows": 10, "examples": 10, "reasons": {}}
DATA = dict.fromkeys(("upos", "upos, dev", "masked-language-modeling"), NUMBERS)


def make_record(num_steps: int) -> dict[str, Any]:
    objectives = {name: {"labels": [], "epoch_tokens": 100} for name in ("upos", "masked-language-modeling")}
    model = {"parameters": {"trunk": 9}, "num_parameters": 9, "num_trained": 9, "device": "CPU"}
    return {"model": {**model, "objectives": objectives}, "history": asdict(make_history(num_steps))}


def make_reporter(output: Location, checkpoint: Path) -> Reporter:
    spec = make_job().model_dump(mode="json")
    job = TrainingJob.model_validate({**spec, "output": {"path": output.url, "tensorboard": True}})
    pinned = pin_checkpoint(str(checkpoint), (), lambda _: None)
    config = replace(XLMConfig(), emb_dim=32)
    return Reporter(PreparedTraining(job, output, {"seed": 0}, pinned, {}, config, {}, {}, {}), DATA)


def read_all(output: Location) -> dict[str, bytes]:
    return {file.url.removeprefix(output.url): locate(file.url).read_bytes() for file in output.walk()}


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_files_have_each_point_once_whenever_they_were_written_before(scheme: str, tmp_path: Path, checkpoint: Path):
    output = locate(f"memory://training{tmp_path}" if scheme == "memory" else str(tmp_path))
    first = make_reporter(output, checkpoint)
    first.watch({}, {"status": "running", "steps": 400})
    assert list(output.walk()) == []
    for num_steps in (0, 120, 310):
        first.watch(make_record(num_steps), {"status": "running", "steps": 400})
    assert json.loads((output / "_xlm/report.json").read_bytes())["step"] == 310
    resumed = make_reporter(output, checkpoint)  # at an older state
    resumed.watch(make_record(120), {"status": "running", "steps": 400})
    report = resumed.write(make_record(400), {"status": "complete", "steps": 400})

    files = read_all(output)
    events = {path: content for path, content in files.items() if path.startswith("/tensorboard/")}
    assert events.keys() == {f"/tensorboard/{run}/events.out.tfevents.0000000400.xlm" for run in ("train", "dev")}
    expected = event_files(list_scalars(make_history(400)))
    assert {path.split("/")[2]: len(content) for path, content in events.items()} == {
        run: len(content) for run, content in expected.items()
    }
    assert json.loads(files["/_xlm/report.json"]) == report
    assert b"Trained" in files["/_xlm/report.html"]
