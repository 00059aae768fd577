"""The training loop, which runs in each worker process of Ray Train."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pipelines.errors import FatalError
from pipelines.train.build import BuildSettings, build_trainer
from pipelines.train.history import History
from pipelines.train.layout import STATES_FOLDER
from pipelines.train.messages import put_error, put_progress, stop_requested
from pipelines.train.states import States
from xlm_core.heads import Head
from xlm_core.inference import head_labels
from xlm_core.training import TrainingModel, sum_over_workers, worker_index

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.storage import Location
    from xlm_core import XLMTokenizer
    from xlm_core.training import Trainer

_REPORT_EVERY_S = 1.0
_EVALUATIONS_SENT = 5  # of each objective, because a fast training has several in a second
_MAX_POINTS = 1_000  # of all curves together


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker process needs.

    Attributes:
        build: the model and its objectives.
        output: where states and the checkpoint are written.
        load_tokenizer: loads the tokenizer that is written with the checkpoint.
        num_threads: CPU threads of a worker without a GPU.
    """

    build: BuildSettings
    output: Location
    load_tokenizer: Callable[[], XLMTokenizer]
    num_threads: int


def train_worker(config: dict[str, Any]) -> None:
    """Train until the last step, or until the driver asks to stop; Ray Train calls this in each worker."""
    from ray.train.torch import get_device

    settings: WorkerSettings = config["settings"]
    device = get_device()
    assert isinstance(device, torch.device)
    if device.type == "cpu":
        torch.set_num_threads(settings.num_threads)
    try:
        TrainingLoop(settings, device, put_progress, stop_requested).run()
    except FatalError as error:
        put_error(str(error))


class TrainingLoop:
    """Trains, evaluates and saves, in one of the worker processes, or in the only one.

    Args:
        settings: what to train.
        device: where.
        put_progress: receives how far the training is, about every second.
        stop_requested: returns whether to end after this step; asked as often.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        device: torch.device,
        put_progress: Callable[[dict[str, Any]], None],
        stop_requested: Callable[[], bool],
    ):
        self._settings, self._job = settings, settings.build.job
        self._put_progress, self._stop_requested = put_progress, stop_requested
        self._folder = tempfile.TemporaryDirectory(prefix="xlm-train-")  # removed with this object
        self._trainer = build_trainer(settings.build, device, Path(self._folder.name))
        self._states = States(settings.output / STATES_FOLDER)
        self._total = self._trainer.settings.schedule.total_steps
        self._is_first = worker_index() == 0
        self._num_records = 0

    def run(self) -> None:
        """Train, evaluate and save; at the end, write the checkpoint."""
        trainer, spec = self._trainer, self._job.training
        self._history = History(**self._states.restore(trainer))
        self._resumed_at = trainer.step
        saved = reported = time.monotonic()
        points = max(1, self._total // _MAX_POINTS)
        self._report("running", with_record=True)
        while trainer.step < self._total and not self._is_patience_over():
            start = time.monotonic()
            result = trainer.run_step()
            self._history.add(result, points, time.monotonic() - start)
            if trainer.step % spec.evaluate_every == 0 or trainer.step == self._total:
                self._evaluate()
            now, stops = time.monotonic(), False
            if self._is_first and now - reported >= _REPORT_EVERY_S:
                reported = now
                self._report("running")
                stops = self._stop_requested()
            if sum_over_workers(torch.tensor(float(stops))).item():
                self._save()
                self._report("interrupted", with_record=True)
                return
            if now - saved >= spec.save_every_s:
                saved = now
                self._save()
                self._report("running", with_record=True)
        self._save()
        self._finish()

    def _is_patience_over(self) -> bool:
        patience, history = self._job.training.patience, self._history
        if patience is None or not history.evaluations:
            return False
        later = {e["step"] for e in history.evaluations if e["step"] > history.best_step}
        return len(later) >= patience

    def _evaluate(self) -> None:
        trainer, history = self._trainer, self._history
        total = 0.0
        found = [(name, trainer.evaluate(name)) for name, o in trainer.objectives.items() if o.dev is not None]
        for name, evaluation in found:
            if not math.isfinite(evaluation.loss):
                raise FatalError(
                    f"step {trainer.step:,}: the loss of {name} on dev is {evaluation.loss}, not a finite number; "
                    "lower training.learning_rate, or train in float32"
                )
            history.add_evaluation(trainer.step, name, evaluation)
            total += evaluation.loss
        if found and total < (math.inf if history.best_loss is None else history.best_loss):
            history.best_loss, history.best_step = total, trainer.step
            if self._is_first and self._job.training.patience is not None:
                self._states.save_best(trainer)

    def _save(self) -> None:
        if self._is_first:
            self._states.save(self._trainer, **asdict(self._history))

    def _report(self, status: str, *, with_record: bool = False) -> None:
        """Send how far the training is, and perhaps what the report shows."""
        if self._is_first:
            history = self._history
            self._num_records += with_record
            record = {"model": describe_model(self._trainer), "history": asdict(history)} if with_record else None
            self._put_progress(
                {
                    "status": status,
                    "step": self._trainer.step,
                    "steps": self._total,
                    "resumed_at": self._resumed_at,
                    "tokens_per_s": history.recent_tokens_per_s(),
                    "losses": history.recent_losses(),
                    "evaluations": history.evaluations[-_EVALUATIONS_SENT * len(self._trainer.objectives) :],
                    "num_records": self._num_records,
                    "record": record,
                }
            )

    def _finish(self) -> None:
        """Write the checkpoint."""
        if not self._is_first:
            return
        if self._job.training.patience is not None and self._history.best_loss is not None:
            self._states.restore_best(self._trainer)
        output = self._settings.output
        with tempfile.TemporaryDirectory() as name, self._trainer.averaged_weights():
            folder = Path(name)
            dtype = getattr(torch, self._job.output.weights)
            for written in self._trainer.model.save(folder, dtype):
                if written.name == TrainingModel.MODEL_FOLDER:
                    self._settings.load_tokenizer().save_pretrained(written)
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    (output / str(file.relative_to(folder))).put(file.read_bytes())
        self._report("complete", with_record=True)


def describe_model(trainer: Trainer) -> dict[str, Any]:
    """Return the sizes and labels of a model, and what it learns from, for the report."""
    model, device = trainer.model, trainer.device
    parts = {"trunk": model.trunk, **dict(model.heads.items())}
    objectives: dict[str, Any] = {}
    for name, trained in trainer.objectives.items():
        head = parts.get(name)
        labels = head_labels(head.config) if isinstance(head, Head) else []
        objectives[name] = {"labels": labels, "epoch_tokens": int(trained.sampler.epoch_tokens)}
    return {
        "parameters": {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()},
        "num_parameters": sum(p.numel() for p in model.parameters()),
        "num_trained": sum(p.numel() for p in trainer.parameters.values()),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper(),
        "objectives": objectives,
    }
