"""An evaluation as an HTML page: one file that loads nothing and runs nothing."""

from __future__ import annotations

import base64
import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipelines.formatting import excerpt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.evaluation import Metric

_TEMPLATES = Path(__file__).parent / "templates"
_MAX_LABELS = 60  # of the confusion matrix
_MAX_CHARS = 16  # of a label in the confusion matrix


def render_page(document: dict[str, Any], metrics: Sequence[Metric], items: str | None, missing: str) -> str:
    """Render an evaluation. All data is escaped.

    Args:
        document: as `evaluation_to_json` returns it, with the comparison, if there is one.
        metrics: those of the task.
        items: what is counted in addition to rows.
        missing: the rows that were left out; empty if there are none.
    """
    style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "number": lambda value: f"{value:,}",
        "percent": _percent,
        "metric_value": lambda value, metric: _percent(value) if metric.is_share else _number(value),
    }
    environment.filters.update(filters)
    reliability = document["reliability"]
    bars = reliability and [None if math.isnan(share) else share for share in reliability["accuracy"]]
    return environment.get_template("evaluation.html.j2").render(
        page={"comparison": None} | document,
        metrics=metrics,
        items=items,
        missing=missing,
        matrix=_matrix(document["confusion"]),
        bars=bars,
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        style=Markup(style),
    )


def _matrix(confusion: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the confusion matrix of the labels that occur; None if there are too many."""
    if confusion is None:
        return None
    counts, num_labels = confusion["counts"], len(confusion["labels"])
    used = [i for i in range(num_labels) if sum(counts[i]) or sum(row[i] for row in counts)]
    has_none = any(row[num_labels] for row in counts)
    if len(used) > _MAX_LABELS:
        return None
    names = [excerpt(name, _MAX_CHARS) for name in [*confusion["labels"], "no label"]]
    columns = [*used, *([num_labels] if has_none else [])]
    rows = [
        {
            "name": names[i],
            "cells": [{"count": counts[i][j], "share": counts[i][j] / max(sum(counts[i]), 1)} for j in columns],
        }
        for i in used
    ]
    return {"columns": [names[j] for j in columns], "rows": rows, "has_none": has_none}


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.1f}"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4g}"
