"""Summarize the results of sampled rows, for each language: labels, numbers and a map of vectors.

Shapes: N rows, D dimensions.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.log import format_traceback, logger
from pipelines.report.sample import read_sample
from pipelines.results import Labels, Numbers, Vectors
from pipelines.rows import decode_text, is_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pipelines.output import Output, Records
    from pipelines.report.sample import Sample
    from pipelines.results import Statistic
    from pipelines.tasks import TaskSettings

ALL = ""  # stands for all languages

_MAX_LANGS = 12  # the most frequent ones; all others count under ALL only
_MAX_LABELS = 24
_NUM_BINS = 24
_MAX_POINTS = 1_500
_MAX_LABEL_CHARS = 60
_NUM_AXES, _NUM_ITERATIONS = 32, 8


def collect_statistics(
    output: Output, records: Records, tasks: Sequence[TaskSettings], lang_column: str | None
) -> dict[str, Any] | None:
    """Summarize the results of some rows of an output.

    Args:
        output: the output.
        records: the records of its parts.
        tasks: the tasks of the job.
        lang_column: the column of the output with the language of each row; None if there is none.

    Returns:
        See `summarize`. None if there are no rows or any error occurs, which is logged: a run whose results are
        written must be able to end.
    """
    try:
        sample = read_sample(output, records)
        return sample and summarize(sample, tasks, lang_column)
    except Exception as error:
        logger.error("the report has no statistics of results\n%s", format_traceback(error))
        return None


def summarize(sample: Sample, tasks: Sequence[TaskSettings], lang_column: str | None) -> dict[str, Any]:
    """Summarize the results of a sample.

    Args:
        sample: rows of the output.
        tasks: the tasks of the job.
        lang_column: the column of the output with the language of each row; None if there is none.

    Returns:
        JSON values: the number of rows and parts, and a list of statistics in the order of the columns.
    """
    langs = _read_langs(sample, lang_column)
    num_rows = Counter(lang for lang in langs if lang != ALL)
    shown = [ALL, *sorted(num_rows, key=lambda lang: (-num_rows[lang], lang))[:_MAX_LANGS]]
    found = [statistic for task in tasks for statistic in task.statistics(sample.rows)]
    return {
        "rows": len(sample.rows),
        "parts": sample.num_parts,
        "langs": shown[1:],
        "columns": [_summarize(statistic, np.array(langs, object), shown) for statistic in found],
    }


def _read_langs(sample: Sample, column: str | None) -> list[str]:
    if column is None or not is_text(sample.rows.schema.field(column).type):
        return [ALL] * len(sample.rows)
    return [lang or ALL for chunk in sample.rows[column].chunks for lang in decode_text(chunk)[0]]


def _summarize(statistic: Statistic, lang_N: NDArray[np.object_], shown: Sequence[str]) -> dict[str, Any]:
    match statistic:
        case Labels(name, rows, values):
            return {"name": name, "kind": "labels", **_count_labels(lang_N[rows], values, shown)}
        case Numbers(name, rows, values):
            return {"name": name, "kind": "numbers", **_histogram(lang_N[rows], values, shown)}
        case Vectors(name, values):
            return {"name": name, "kind": "vectors", **_map(lang_N, values, shown)}


def _count_labels(langs: NDArray[np.object_], values: Sequence[str], shown: Sequence[str]) -> dict[str, Any]:
    """Count the most frequent labels, for all languages and for each one."""
    counts = Counter(values)
    labels = [label for label, _ in counts.most_common(_MAX_LABELS)]
    by_lang = {lang: Counter[str]() for lang in shown}
    for lang, label in zip(langs, values, strict=True):
        if lang != ALL and lang in by_lang:
            by_lang[lang][label] += 1
    by_lang[ALL] = counts
    return {
        "labels": [label[:_MAX_LABEL_CHARS] for label in labels],
        "counts": {lang: [by_lang[lang][label] for label in labels] for lang in shown},
        "totals": {lang: by_lang[lang].total() for lang in shown},
        "distinct": len(counts),
    }


def _histogram(langs: NDArray[np.object_], values: NDArray[np.float64], shown: Sequence[str]) -> dict[str, Any]:
    """Count numbers in bins of equal width. Numbers between 0 and 1 have the bins of scores."""
    is_finite = np.isfinite(values)
    langs, values = langs[is_finite], values[is_finite]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    edges = np.linspace(low, high if high > low else low + 1, _NUM_BINS + 1)
    groups = {lang: values if lang == ALL else values[langs == lang] for lang in shown}
    return {
        "edges": [float(f"{edge:.6g}") for edge in edges],
        "counts": {lang: np.histogram(group, edges)[0].tolist() for lang, group in groups.items()},
        "medians": {lang: float(f"{np.median(group):.6g}") for lang, group in groups.items() if len(group)},
    }


def _map(lang_N: NDArray[np.object_], vectors_ND: NDArray[np.float64], shown: Sequence[str]) -> dict[str, Any]:
    """Project vectors to their first two principal components."""
    chosen = np.linspace(0, len(vectors_ND) - 1, min(len(vectors_ND), _MAX_POINTS)).astype(np.int64)
    langs, vectors = lang_N[chosen], np.nan_to_num(vectors_ND[chosen])
    centered = vectors - vectors.mean(0)
    # Subspace iteration finds the first components alone. All components of wide vectors would take a second.
    axes = np.random.default_rng(0).normal(size=(centered.shape[1], min(centered.shape[1], _NUM_AXES)))
    for _ in range(_NUM_ITERATIONS):
        axes = centered.T @ (centered @ np.linalg.qr(axes)[0])
    left, scales, _ = np.linalg.svd(centered @ np.linalg.qr(axes)[0], full_matrices=False)
    points = left[:, :2] * scales[:2]
    if points.shape[1] < 2:
        points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    variances = np.pad(scales**2, (0, 2))  # one row or one dimension has fewer than two components
    total = float((centered**2).sum())
    return {
        "points": {
            lang: np.round(points[langs == lang if lang != ALL else ~np.isin(langs, shown[1:])], 4).tolist()
            for lang in shown
        },
        "explained": [float(f"{max(v, 0.0) / total:.4g}") if total > 0 else 0.0 for v in variances[:2].tolist()],
    }
