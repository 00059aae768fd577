"""Metrics of one output, and of two outputs by the same gold labels: overall, by language, and their mean.

Shapes: N rows, R resamples, M metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow.compute

from pipelines.errors import FatalError
from pipelines.evaluation.measures import mean_of_defined
from pipelines.evaluation.reliability import Reliability, measure_reliability
from pipelines.evaluation.resampling import (
    Estimate,
    estimates,
    mcnemar_p_value,
    paired_p_value,
    resample,
    sum_groups,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pipelines.evaluation.measures import Confusion, Measure
    from pipelines.evaluation.scored_output import ScoredOutput

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

_ALL = "all"


@dataclass(frozen=True)
class Scores:
    """The metrics of some rows.

    Attributes:
        rows: number of rows.
        items: number of what the measure counts, such as words; None if it counts rows.
        metrics: one estimate for each metric.
        ece: the expected calibration error of the scores; None without scores.
    """

    rows: int
    items: int | None
    metrics: list[Estimate]
    ece: float | None


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one output.

    Attributes:
        scored: its results and gold labels.
        total: of all rows.
        mean: the mean of the languages; None with fewer than two.
        langs: by language, the most frequent first; empty if languages are not known.
        confusion: of all rows; None without single labels.
        reliability: of all rows; None without scores.
    """

    scored: ScoredOutput
    total: Scores
    mean: Scores | None
    langs: dict[str, Scores]
    confusion: Confusion | None
    reliability: Reliability | None


class Difference(NamedTuple):
    """How a metric of B differs from that of A.

    Attributes:
        a, b: the metric of each.
        difference: B minus A.
        p_value: of the paired bootstrap, two-sided; NaN if the metric is not defined.
    """

    a: float
    b: float
    difference: Estimate
    p_value: float


@dataclass(frozen=True)
class PairedScores:
    """How two outputs differ in some rows.

    Attributes:
        rows: number of rows in both.
        metrics: one difference for each metric.
        mcnemar: the p-value of McNemar's test on the first metric; None if it is not a share of rows.
    """

    rows: int
    metrics: list[Difference]
    mcnemar: float | None


@dataclass(frozen=True)
class Comparison:
    """How two outputs differ, by the same gold labels.

    Attributes:
        total: of all rows.
        langs: by language, the most frequent first; empty if languages are not known.
        only_a, only_b: number of rows in only one of them, which are left out.
    """

    total: PairedScores
    langs: dict[str, PairedScores]
    only_a: int
    only_b: int


def evaluate(scored: ScoredOutput) -> Evaluation:
    """Compute the metrics of an output, with 95 % confidence intervals."""
    measure, keys = scored.measure, scored.keys
    found: dict[str, Scores] = {}
    values: list[NDArray[np.float64]] = []
    resampled: list[NDArray[np.float64]] = []
    for name, rows in _parts(scored.langs, len(keys)):
        sums, drawn_RK = _sums(measure, rows, keys, name)
        values.append(measure.compute(sums))
        resampled.append(measure.compute(drawn_RK))
        reliability = _reliability(measure, rows)
        found[name] = Scores(
            len(rows),
            measure.num_items(sums),
            estimates(values[-1], resampled[-1]),
            None if reliability is None else reliability.ece,
        )
    total, *langs = found.items()
    everything = np.arange(len(keys))
    return Evaluation(
        scored,
        total[1],
        _mean([scores for _, scores in langs], values[1:], resampled[1:]) if len(langs) > 1 else None,
        dict(langs),
        measure.confusion(everything),
        _reliability(measure, everything),
    )


def compare(a: ScoredOutput, b: ScoredOutput) -> Comparison:
    """Compare two outputs in the rows that both have, with paired tests.

    Raises:
        FatalError: they have different tasks, or no common rows.
    """
    if type(a.measure) is not type(b.measure) or a.measure.metrics != b.measure.metrics:
        raise FatalError(f"{a.url} and {b.url}: {a.task.kind} and {b.task.kind} have different metrics")
    found = pc.index_in(a.ids, value_set=b.ids)
    rows_a = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False))
    rows_b = found.drop_null().to_numpy().astype(np.int64)
    if not len(rows_a):
        raise FatalError(f"{a.url} and {b.url} have no common ids")
    keys, langs = a.keys[rows_a], None if a.langs is None else a.langs[rows_a]
    results = {
        name: _compare(a.measure, b.measure, rows_a[rows], rows_b[rows], keys[rows], name)
        for name, rows in _parts(langs, len(rows_a))
    }
    total, *others = results.items()
    return Comparison(total[1], dict(others), len(a.ids) - len(rows_a), len(b.ids) - len(rows_a))


def _parts(langs: NDArray[np.object_] | None, num_rows: int) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield the index of all rows, and then of those of each language."""
    yield _ALL, np.arange(num_rows)
    if langs is None:
        return
    names, code, counts = np.unique(langs.astype(str), return_inverse=True, return_counts=True)
    for i in sorted(range(len(names)), key=lambda i: (-counts[i], names[i])):
        yield str(names[i]), np.flatnonzero(code == i)


def _sums(
    measure: Measure, rows: NDArray[np.int64], keys: NDArray[np.uint64], name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums over rows, and those over the resamples of these rows; `keys` are those of all rows."""
    groups_GK = sum_groups(measure.entries(rows), keys[rows], measure.num_sums)
    return groups_GK.sum(0), resample(groups_GK, name)


def _reliability(measure: Measure, rows: NDArray[np.int64]) -> Reliability | None:
    confidences = measure.confidences(rows)
    return None if confidences is None else measure_reliability(*confidences)


def _mean(langs: list[Scores], values: list[NDArray[np.float64]], resampled: list[NDArray[np.float64]]) -> Scores:
    value_M, resampled_RM = (mean_of_defined(np.stack(parts, -1)) for parts in (values, resampled))
    metrics = estimates(value_M, resampled_RM)
    errors = [scores.ece for scores in langs if scores.ece is not None]
    items = [scores.items for scores in langs if scores.items is not None]
    mean_ece = float(np.mean(errors)) if errors else None
    return Scores(sum(scores.rows for scores in langs), sum(items) if items else None, metrics, mean_ece)


def _compare(
    a: Measure,
    b: Measure,
    rows_a: NDArray[np.int64],
    rows_b: NDArray[np.int64],
    keys: NDArray[np.uint64],
    name: str,
) -> PairedScores:
    """Compare rows; the same rows are drawn of both."""
    sides: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    for measure, rows in ((a, rows_a), (b, rows_b)):
        groups_GK = sum_groups(measure.entries(rows), keys, measure.num_sums)
        sides.append((measure.compute(groups_GK.sum(0)), measure.compute(resample(groups_GK, name))))
    (value_a, drawn_a), (value_b, drawn_b) = sides
    differences = estimates(value_b - value_a, drawn_b - drawn_a)
    p_values = [paired_p_value(drawn) for drawn in (drawn_b - drawn_a).T]
    columns = (value_a.tolist(), value_b.tolist(), differences, p_values)
    metrics = [Difference(*parts) for parts in zip(*columns, strict=True)]
    right_a, right_b = a.decisions(rows_a), b.decisions(rows_b)
    mcnemar = None
    if right_a is not None and right_b is not None:
        mcnemar = mcnemar_p_value(int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum()))
    return PairedScores(len(rows_a), metrics, mcnemar)
