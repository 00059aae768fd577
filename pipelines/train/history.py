"""The history of a training: losses, speed and evaluations, as they are saved with its states and reported."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from xlm_core.training import Evaluation, StepResult

Point = dict[str, float]

_RECENT_STEPS = 20


@dataclass
class History:
    """What is reported of the steps that are done. Saved with the state, it is the same after a kill, except seconds.

    Attributes:
        started_s: when the training began, in seconds since the epoch.
        curve: for each objective, points that each stand for some steps: the number of steps done after the last of
            them (`step`), how many they are (`steps`), their mean `loss` and `grad_norm`, the last `learning_rate`,
            and their `tokens` and `seconds`; `ended_s` is `seconds` of the training after the last of them.
        evaluations: losses and accuracies on held out rows, after a number of steps.
        tokens: of all steps.
        seconds: that the steps took.
        best_loss: the lowest loss on held out rows, summed over the objectives; None before the first evaluation.
        best_step: the number of steps of that evaluation.
    """

    started_s: float = field(default_factory=time.time)
    curve: dict[str, list[Point]] = field(default_factory=dict[str, list[Point]])
    evaluations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    tokens: int = 0
    seconds: float = 0.0
    best_loss: float | None = None
    best_step: int = 0

    def add(self, result: StepResult, points: int, seconds: float) -> None:
        """Add a step; a point of the curve stands for `points` steps."""
        self.tokens += result.num_tokens
        self.seconds += seconds
        step: Point = {
            "step": result.step + 1,
            "steps": 1,
            "loss": result.loss,
            "grad_norm": result.grad_norm,
            "learning_rate": result.learning_rate,
            "tokens": result.num_tokens,
            "seconds": seconds,
            "ended_s": self.seconds,
        }
        curve = self.curve.setdefault(result.objective, [])
        if curve and curve[-1]["steps"] < points:
            step = _merge([curve.pop(), step])
        curve.append(step)

    def add_evaluation(self, step: int, objective: str, evaluation: Evaluation) -> None:
        """Add the evaluation of an objective after a number of steps."""
        values = evaluation._asdict() | {"ended_s": self.seconds}
        self.evaluations.append({"step": step, "objective": objective, **values})

    def recent_losses(self) -> dict[str, float]:
        """Return for each objective the mean loss of its last steps."""
        return {name: _merge(_last(curve, _RECENT_STEPS))["loss"] for name, curve in self.curve.items()}

    def recent_tokens_per_s(self) -> float | None:
        """Return the speed of the last steps; None before the first one."""
        points = _last(sorted(_all_points(self.curve), key=lambda point: point["step"]), _RECENT_STEPS)
        return tokens_per_s(_merge(points)) if points else None


def tokens_per_s(point: Point) -> float:
    """Return the speed of the steps of a point."""
    return point["tokens"] / max(point["seconds"], 1e-9)


def merge_points(points: Sequence[Point], number: int) -> list[Point]:
    """Merge consecutive points, until there are at most `number`."""
    merged = -(-len(points) // number)
    return [_merge(points[i : i + merged]) for i in range(0, len(points), merged)] if points else []


def merge_objectives(curve: dict[str, list[Point]], number: int) -> list[Point]:
    """Merge the points of all objectives by their steps; the losses of the result mean nothing."""
    return merge_points(sorted(_all_points(curve), key=lambda point: point["step"]), number)


def _all_points(curve: dict[str, list[Point]]) -> Iterable[Point]:
    return (point for points in curve.values() for point in points)


def _last(points: Sequence[Point], num_steps: int) -> list[Point]:
    """Return the last points, which stand for at least this number of steps, or all."""
    found: list[Point] = []
    for point in reversed(points):
        if sum(p["steps"] for p in found) >= num_steps:
            break
        found.insert(0, point)
    return found


def _merge(points: Sequence[Point]) -> Point:
    steps = sum(point["steps"] for point in points)
    last = points[-1]
    return {
        "step": last["step"],
        "steps": steps,
        "loss": sum(point["loss"] * point["steps"] for point in points) / steps,
        "grad_norm": sum(point["grad_norm"] * point["steps"] for point in points) / steps,
        "learning_rate": last["learning_rate"],
        "tokens": sum(point["tokens"] for point in points),
        "seconds": sum(point["seconds"] for point in points),
        "ended_s": last["ended_s"],
    }
