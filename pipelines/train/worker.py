"""The training loop, which runs in each worker process of Ray Train."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pipelines.errors import FatalError
from pipelines.train.build import BuildSettings, build_trainer
from pipelines.train.layout import STATES_FOLDER
from pipelines.train.messages import put_error, put_progress, stop_requested
from pipelines.train.states import States
from xlm_core.training import sum_over_workers, worker_index

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.storage import Location
    from xlm_core import XLMTokenizer
    from xlm_core.training import StepResult

_REPORT_EVERY_S = 1.0
_MAX_POINTS = 1_000  # of the curve of each objective


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


@dataclass
class History:
    """What is reported of the steps that are done. It is saved with the state.

    Attributes:
        curve: for each objective, points with the mean loss of some steps.
        evaluations: losses and accuracies on held out rows.
        tokens: of all steps.
        seconds: that the steps took.
        best_loss: the lowest loss on held out rows, summed over the objectives; None before the first evaluation.
        best_step: the number of steps of that evaluation.
    """

    curve: dict[str, list[dict[str, float]]] = field(default_factory=dict[str, list[dict[str, float]]])
    evaluations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    tokens: int = 0
    seconds: float = 0.0
    best_loss: float | None = None
    best_step: int = 0

    def add(self, result: StepResult, points: int, seconds: float) -> None:
        """Add a step; a point of the curve is the mean of `points` steps."""
        self.tokens += result.num_tokens
        self.seconds += seconds
        curve = self.curve.setdefault(result.objective, [])
        if not curve or curve[-1]["steps"] >= points:
            curve.append({"step": result.step, "steps": 0, "loss": 0.0, "tokens": 0})
        point = curve[-1]
        steps = point["steps"]
        point["loss"] = (point["loss"] * steps + result.loss) / (steps + 1)
        point |= {"step": result.step, "steps": steps + 1, "tokens": point["tokens"] + result.num_tokens}
        point |= {"learning_rate": result.learning_rate, "grad_norm": result.grad_norm}


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

    def run(self) -> None:
        """Train, evaluate and save; at the end, write the checkpoint."""
        trainer, spec = self._trainer, self._job.training
        self._history = History(**self._states.restore(trainer))
        saved = reported = time.monotonic()
        points = max(1, self._total // _MAX_POINTS)
        self._report("training")
        while trainer.step < self._total and not self._is_patience_over():
            start = time.monotonic()
            result = trainer.run_step()
            self._history.add(result, points, time.monotonic() - start)
            if trainer.step % spec.evaluate_every == 0 or trainer.step == self._total:
                self._evaluate()
            now, stops = time.monotonic(), False
            if self._is_first and now - reported >= _REPORT_EVERY_S:
                reported = now
                self._report("training")
                stops = self._stop_requested()
            if sum_over_workers(torch.tensor(float(stops))).item():
                self._save()
                self._report("interrupted")
                return
            if now - saved >= spec.save_every_s:
                saved = now
                self._save()
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
            history.evaluations.append({"step": trainer.step, "objective": name, **evaluation._asdict()})
            total += evaluation.loss
        if found and total < (math.inf if history.best_loss is None else history.best_loss):
            history.best_loss, history.best_step = total, trainer.step
            if self._is_first and self._job.training.patience is not None:
                self._states.save_best(trainer)

    def _save(self) -> None:
        if self._is_first:
            self._states.save(self._trainer, **asdict(self._history))

    def _report(self, status: str) -> None:
        if self._is_first:
            history = self._history
            self._put_progress(
                {
                    "status": status,
                    "step": self._trainer.step,
                    "steps": self._total,
                    "tokens": history.tokens,
                    "seconds": history.seconds,
                    "losses": {name: curve[-1]["loss"] for name, curve in history.curve.items()},
                    "evaluations": history.evaluations[-len(self._trainer.objectives) :],
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
                if written.name == "model":
                    self._settings.load_tokenizer().save_pretrained(written)
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    (output / str(file.relative_to(folder))).put(file.read_bytes())
        self._report("complete")
