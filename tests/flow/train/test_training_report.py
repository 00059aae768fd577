"""A real training writes its report and curves, and one that resumes has the same curves."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jobs.commands.job.train import train_job
from jobs.exit_status import ExitStatus
from pipelines.errors import FatalError
from pipelines.training_job import TrainingJob

pytestmark = pytest.mark.usefixtures("cluster")

Make = Callable[..., Any]

STEPS = 12
SECONDS = {"seconds", "ended_s", "tokens_per_s", "started", "updated"}


def without_seconds(value: Any) -> Any:
    """Return a report without the values that differ between trainings."""
    if isinstance(value, dict):
        return {key: without_seconds(item) for key, item in value.items() if key not in SECONDS}
    return [without_seconds(item) for item in value] if isinstance(value, list) else value


def run(job: TrainingJob) -> str:
    file = io.StringIO()
    assert train_job(job, Console(file=file, width=200)) is ExitStatus.COMPLETE
    return file.getvalue()


@pytest.mark.long
def test_report_of_a_training_that_resumes_is_that_of_an_undisturbed_one(make_training: Make, objective: Make):
    specs = [objective("text-classification", name="topic"), objective("masked-language-modeling", dev=None)]
    job = make_training(*specs, steps=STEPS, evaluate_every=4, save_every_s=1e-3)
    out = Path(job.output.path)
    job = job.model_copy(update={"output": job.output.model_copy(update={"tensorboard": True})})
    printed = run(job)
    report = json.loads((out / "_xlm/report.json").read_text())
    topic, masked = report["objectives"]
    assert (report["status"], report["step"], report["steps"]) == ("complete", STEPS, STEPS)
    assert [point["step"] for point in topic["curve"]] == [1, 3, 5, 7, 9, 11]
    assert [point["step"] for point in masked["curve"]] == [2, 4, 6, 8, 10, 12]
    assert [evaluation["step"] for evaluation in topic["evaluations"]] == [4, 8, 12]
    assert topic["dev"] == topic["evaluations"][-1]
    assert len(topic["labels"]) == 6
    assert topic["data"]["rows"] == topic["data"]["examples"] + sum(topic["data"]["reasons"].values())
    assert report["model"]["num_trained"] == report["model"]["num_parameters"] > 0
    assert "Trained" in (out / "_xlm/report.html").read_text()
    for step in (4, 8, 12):
        assert printed.count(f"msg=evaluated step={step} objective=topic") == 1
    assert f"{STEPS} steps, {report['tokens']:,} tokens in" in printed
    names = ["events.out.tfevents.0000000012.xlm"]
    assert [file.name for file in (out / "tensorboard/train").iterdir()] == names
    events = EventAccumulator(str(out / "tensorboard/train"))
    events.Reload()
    assert [event.step for event in events.Scalars("learning_rate")] == list(range(1, STEPS + 1))

    # as if it was killed after the state before the last one
    (out / "_SUCCESS").unlink()
    *_, newest = sorted((out / "_xlm/states").glob("step-*"))
    newest.unlink()
    # what is written in addition may change
    run(job.model_copy(update={"output": job.output.model_copy(update={"tensorboard": False})}))
    assert without_seconds(json.loads((out / "_xlm/report.json").read_text())) == without_seconds(
        report | {"settings": report["settings"] | {"output": report["settings"]["output"] | {"tensorboard": False}}}
    )
    events.Reload()
    assert [event.step for event in events.Scalars("learning_rate")] == list(range(1, STEPS + 1))


@pytest.mark.long
def test_report_of_a_training_that_fails_has_the_error(make_training: Make, objective: Make):
    job = make_training(objective("text-classification"), learning_rate=1e30, warmup_steps=0, steps=50)
    with pytest.raises(FatalError, match="not a finite number"):
        run(job)
    report = json.loads((Path(job.output.path) / "_xlm/report.json").read_text())
    assert report["status"] == "failed"
    assert "not a finite number" in report["error"]
    assert "Failed" in (Path(job.output.path) / "_xlm/report.html").read_text()
