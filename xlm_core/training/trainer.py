"""Training steps: draw examples, compute gradients over batches and workers, update the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from xlm_core.errors import FatalError
from xlm_core.training.optimizer import WeightAverage, build_optimizer, trainable_parameters
from xlm_core.training.samplers import split_step
from xlm_core.training.workers import num_workers, sum_gradients, sum_over_workers, worker_index

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xlm_core.training.bpe_dropout import BpeDropout
    from xlm_core.training.examples import Examples
    from xlm_core.training.model import TrainingModel
    from xlm_core.training.objectives import Objective
    from xlm_core.training.samplers import Sampler
    from xlm_core.training.schedule import Schedule

_SEED_OF_DEV = 0  # of what is random about dev examples, which is the same in every evaluation


@dataclass(frozen=True)
class TrainedObjective:
    """An objective with its data.

    Attributes:
        objective: computes the loss.
        sampler: draws the examples of a step.
        weight: how often a step trains it, relative to the other objectives.
        dev: held out examples; None if there are none.
        tokens_per_step: of its steps; None for that of the settings.
        bpe_dropout: splits tokens of the examples of a step; None for no splits.
    """

    objective: Objective
    sampler: Sampler
    weight: float = 1.0
    dev: Examples | None = None
    tokens_per_step: int | None = None
    bpe_dropout: BpeDropout | None = None


@dataclass(frozen=True)
class TrainerSettings:
    """How the weights are updated.

    Attributes:
        schedule: the learning rate.
        tokens_per_step: about how many tokens the gradient of a step averages over, on all workers together.
        max_tokens: maximum number of tokens of one forward and backward pass.
        max_grad_norm: gradients with a larger norm are scaled down to it; None for no limit.
        weight_decay, betas, epsilon: of AdamW.
        average_decay: of the moving average of the weights; None for no average.
        autocast: the precision of matrix products, bfloat16; None for that of the weights.
        seed: of everything that is random.

    Raises:
        ValueError: float16, in which small gradients are 0 unless losses are scaled.
    """

    schedule: Schedule
    tokens_per_step: int
    max_tokens: int
    max_grad_norm: float | None = 1.0
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    average_decay: float | None = None
    autocast: torch.dtype | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.autocast == torch.float16:
            raise ValueError("autocast: got torch.float16, expected torch.bfloat16 or None")


class StepResult(NamedTuple):
    """What one step did, over all workers.

    Attributes:
        step: its number, from 0.
        objective: the name of the objective that it trained.
        loss: mean over the targets; 0 if the examples of the step have none.
        num_tokens: of its examples.
        grad_norm: before it was limited.
        learning_rate: of the update.
    """

    step: int
    objective: str
    loss: float
    num_tokens: int
    grad_norm: float
    learning_rate: float


class Evaluation(NamedTuple):
    """The dev examples of one objective, evaluated.

    Attributes:
        loss: mean over the targets.
        accuracy: share of the targets that are predicted correctly; None if that is not defined.
    """

    loss: float
    accuracy: float | None


class Trainer:
    """Trains a model for one or more objectives, one of them in each step.

    A step has the same examples, with the same tokens masked, on any number of workers. Each worker computes the
    gradients of some batches.

    Args:
        model: on its device.
        objectives: by name; their heads are those of the model.
        settings: how the weights are updated.

    Attributes:
        step: number of steps done.
        drawn: for each objective, what its sampler has drawn.
        num_steps: for each objective, how many steps trained it.
    """

    def __init__(self, model: TrainingModel, objectives: Mapping[str, TrainedObjective], settings: TrainerSettings):
        self.model, self.objectives, self.settings = model, dict(objectives), settings
        self.device = model.trunk.embeddings.weight.device
        self.optimizer = build_optimizer(model, settings.weight_decay, settings.betas, settings.epsilon)
        self.parameters = dict(trainable_parameters(model))
        decay = settings.average_decay
        self.average = None if decay is None else WeightAverage(self.parameters.items(), decay)
        self.step = 0
        self.num_steps = dict.fromkeys(self.objectives, 0)
        self.drawn = {name: np.zeros(o.sampler.num_groups, np.int64) for name, o in self.objectives.items()}

    def run_step(self) -> StepResult:
        """Run one training step.

        Raises:
            FatalError: the loss or its gradient is not finite. The weights are those before the step.
        """
        settings, name = self.settings, self._next_objective()
        trained = self.objectives[name]
        rng = np.random.default_rng((settings.seed, self.step))
        tokens_per_step = trained.tokens_per_step or settings.tokens_per_step
        examples, drawn = trained.sampler.draw(rng, self.drawn[name], tokens_per_step)
        if trained.bpe_dropout is not None:
            examples = trained.bpe_dropout.apply(examples, rng)
        examples = trained.objective.prepare(examples, rng)
        split = split_step(examples, settings.max_tokens, num_workers(), sort=trained.objective.sorts)
        torch.manual_seed(int(rng.integers(2**62)) + worker_index())  # of dropout
        self.model.train()
        loss = self._backward(trained.objective, examples, split)
        self._check_finite(name, "loss", loss)
        sum_gradients(list(self.parameters.values()))
        norm = self._limit_gradient()
        self._check_finite(name, "norm of the gradient", norm)
        rate = settings.schedule.rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update(self.step)
        result = StepResult(self.step, name, loss, int(examples.row_lengths.sum()), norm, rate)
        self.step += 1
        self.num_steps[name] += 1
        self.drawn[name] = drawn
        return result

    def evaluate(self, name: str) -> Evaluation:
        """Evaluate the dev examples of an objective, with the average of the weights if there is one."""
        trained = self.objectives[name]
        assert trained.dev is not None
        examples = trained.objective.prepare(trained.dev, np.random.default_rng(_SEED_OF_DEV))
        split = split_step(examples, self.settings.max_tokens, 1, sort=trained.objective.sorts)
        sums = torch.zeros(3, dtype=torch.float64)  # of losses, of targets, of correct targets
        self.model.eval()
        with self.averaged_weights(), torch.no_grad():
            for rows in split[worker_index() :: num_workers()]:
                batch = trained.objective.make_batch(examples.take(rows))
                if not batch.num_targets:
                    continue
                with self._autocast():
                    scores = trained.objective.run(self.model.trunk, batch.to(self.device))
                num_correct = math.nan if scores.num_correct is None else float(scores.num_correct)
                loss = float(scores.loss) * batch.num_targets
                sums += torch.tensor([loss, batch.num_targets, num_correct], dtype=torch.float64)
        loss, num_targets, num_correct = sum_over_workers(sums.to(self.device)).tolist()
        accuracy = num_correct / max(1, num_targets)
        return Evaluation(loss / max(1, num_targets), None if math.isnan(accuracy) else accuracy)

    def averaged_weights(self) -> _Averaged:
        """Return a context in which the model has the average of its weights."""
        return _Averaged(self.average)

    def _backward(self, objective: Objective, examples: Examples, split: Sequence[np.ndarray]) -> float:
        """Compute the gradients of this worker's batches, and return the loss over all workers."""
        batches = [objective.make_batch(examples.take(rows)) for rows in split[worker_index() :: num_workers()]]
        own_targets = torch.tensor(sum(batch.num_targets for batch in batches), device=self.device)
        num_targets = int(sum_over_workers(own_targets))
        total = torch.zeros((), device=self.device)
        for batch in batches:
            if not batch.num_targets:
                continue
            with self._autocast():
                scores = objective.run(self.model.trunk, batch.to(self.device))
            loss = scores.loss * (batch.num_targets / num_targets)
            loss.backward()
            total += loss.detach().float()
        return float(sum_over_workers(total))

    def _limit_gradient(self) -> float:
        """Limit the norm of the gradient, and return its norm before."""
        grads = [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]
        norm, limit = torch.nn.utils.get_total_norm(grads), self.settings.max_grad_norm
        if limit is not None and norm > limit:  # else another pass over all gradients would multiply them by 1
            torch.nn.utils.clip_grads_with_norm_(self.parameters.values(), limit, norm)
        return float(norm)

    def _check_finite(self, objective: str, what: str, value: float) -> None:
        if not math.isfinite(value):
            self.optimizer.zero_grad()
            raise FatalError(
                f"step {self.step:,}: the {what} of {objective} is {value}, not a finite number; lower the learning "
                "rate, or train in float32"
            )

    def _next_objective(self) -> str:
        """Return the objective that is furthest behind its share of the steps."""
        total = sum(trained.weight for trained in self.objectives.values())

        def lag(name: str) -> float:
            return self.objectives[name].weight / total * (self.step + 1) - self.num_steps[name]

        return max(self.objectives, key=lag)

    def _autocast(self) -> torch.autocast:
        dtype = self.settings.autocast
        return torch.autocast(self.device.type, dtype or torch.bfloat16, enabled=dtype is not None)


class _Averaged:
    """A context in which a model has the average of its weights."""

    def __init__(self, average: WeightAverage | None):
        self._average = average

    def __enter__(self) -> None:
        if self._average is not None:
            self._average.swap()

    def __exit__(self, *_: object) -> None:
        if self._average is not None:
            self._average.swap()
