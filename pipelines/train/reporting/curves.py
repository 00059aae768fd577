"""The values of the charts of a training's page, taken from its report."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pipelines.train.history import merge_objectives, merge_points, tokens_per_s

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MAX_POINTS = 150  # of a curve: a phone shows no more
_MAX_INTERVALS = 40  # of the speed, which differs much from step to step


def build_curves(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the charts that have values: one of the losses of each objective, and others of all objectives.

    Each has a `title`, the name of the `objective` or None, and `series` with points [step, value]; `log` is whether
    the axis is logarithmic, and `percent` whether values are shares.
    """
    objectives = report["objectives"]
    merged = {o["name"]: merge_points(o["curve"], _MAX_POINTS) for o in objectives}
    charts = [
        _chart(
            "loss by step",
            {
                "training": ((p["step"], p["loss"]) for p in merged[o["name"]]),
                "dev": ((e["step"], e["loss"]) for e in o["evaluations"]),
            },
            objective=o["name"],
        )
        for o in objectives
    ]
    charts.append(
        _chart(
            "accuracy on dev by step",
            {o["name"]: ((e["step"], e["accuracy"]) for e in o["evaluations"]) for o in objectives},
            percent=True,
        )
    )
    curve = {o["name"]: o["curve"] for o in objectives}
    rates = ((p["step"], p["learning_rate"]) for p in merge_objectives(curve, _MAX_POINTS))
    charts.append(_chart("learning rate by step", {"learning rate": rates}))
    norms = {name: ((p["step"], p["grad_norm"]) for p in points) for name, points in merged.items()}
    charts.append(_chart("norm of the gradient by step, before it is limited", norms, log=True))
    speeds = ((p["step"], round(tokens_per_s(p), 1)) for p in merge_objectives(curve, _MAX_INTERVALS))
    charts.append(_chart("tokens per second by step", {"tokens per second": speeds}))
    return [chart for chart in charts if chart["series"]]


def _chart(
    title: str,
    series: Mapping[str, Iterable[tuple[float, float | None]]],
    *,
    objective: str | None = None,
    percent: bool = False,
    log: bool = False,
) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    for name, values in series.items():
        points = [[step, value] for step, value in values if _can_be_drawn(value, log=log)]
        if points:
            found.append({"name": name, "points": points})
    return {"title": title, "objective": objective, "series": found, "percent": percent, "log": log}


def _can_be_drawn(value: float | None, *, log: bool) -> bool:
    return value is not None and math.isfinite(value) and not (log and value <= 0)
