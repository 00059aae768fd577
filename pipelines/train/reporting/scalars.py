"""The curves of a training as single values, for TensorBoard."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipelines.train.history import tokens_per_s

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.train.history import History


class Scalar(NamedTuple):
    """One value of a curve.

    Attributes:
        run: "train", or "dev" for held out rows. A loss has the same name in both.
        name: what it is, such as "loss/upos".
        step: number of steps done.
        time_s: when these steps were done, in seconds since the epoch, if there were no interruptions.
        value: the value.
    """

    run: str
    name: str
    step: int
    time_s: float
    value: float


def list_scalars(history: History) -> list[Scalar]:
    """Return all values of all curves, in the order of their steps."""
    found: list[Scalar] = []

    def add(run: str, step: float, ended_s: float, values: Mapping[str, float | None]) -> None:
        time_s = history.started_s + ended_s
        found.extend(Scalar(run, name, int(step), time_s, value) for name, value in values.items() if value is not None)

    for objective, points in history.curve.items():
        for point in points:
            values = {
                f"loss/{objective}": point["loss"],
                f"grad_norm/{objective}": point["grad_norm"],
                "learning_rate": point["learning_rate"],
                "tokens_per_s": tokens_per_s(point),
            }
            add("train", point["step"], point["ended_s"], values)
    for evaluation in history.evaluations:
        objective = evaluation["objective"]
        values = {f"loss/{objective}": evaluation["loss"], f"accuracy/{objective}": evaluation["accuracy"]}
        add("dev", evaluation["step"], evaluation["ended_s"], values)
    return sorted(found, key=lambda scalar: scalar.step)
