"""Confidence intervals and paired tests by the bootstrap, from sums of statistics of rows.

A metric is a function of sums over rows, such as the numbers of right labels and of all labels. Rows are drawn with
replacement, with numbers from a fixed seed. Of more than 4,096 rows, groups of rows are drawn, so that the memory does
not grow with the rows; the intervals have the same expected width. Rows are assigned to groups by the hashes of their
ids, so that an interval does not depend on the order of rows.

Shapes: N rows, G groups, K sums, R resamples, M metrics.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_RESAMPLES = 1_000
_MAX_GROUPS = 4_096
_MIN_GROUPS = 256
_MAX_GROUP_SUMS = 2**25  # 256 MB
_DRAWS_AT_ONCE = 2**22
_PERCENTILES = (2.5, 97.5)


class Entries(NamedTuple):
    """What rows add to sums.

    Attributes:
        row: int64 [E].
        column: int64 [E], the sum.
        value: float64 [E], what the row adds to the sum.
    """

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    value: NDArray[np.float64]


class Estimate(NamedTuple):
    """A value, and the bounds of its 95 % confidence interval; NaN if it is not defined."""

    value: float
    low: float
    high: float


def sum_groups(entries: Entries, keys: NDArray[np.uint64], num_sums: int) -> NDArray[np.float64]:
    """Add up the statistics of groups of rows.

    Args:
        entries: the statistics of N rows.
        keys: uint64 [N], hashes of the ids of the rows.
        num_sums: K.

    Returns:
        [G, K]
    """
    num_rows = len(keys)
    num_groups = min(num_rows, _MAX_GROUPS, max(_MAX_GROUP_SUMS // num_sums, _MIN_GROUPS))
    group = np.empty(num_rows, np.int64)
    group[np.argsort(keys, kind="stable")] = np.arange(num_rows) * num_groups // max(num_rows, 1)
    cell = group[entries.row] * num_sums + entries.column
    sums = np.bincount(cell, entries.value, num_groups * num_sums)
    return sums.astype(np.float64).reshape(num_groups, num_sums)


def resample(sums_GK: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Draw groups with replacement, as many as there are, and add up their statistics.

    Args:
        sums_GK: the statistics of the groups.
        name: of the rows, which determines the random numbers.

    Returns:
        [R, K]
    """
    num_groups = len(sums_GK)
    rng = np.random.default_rng(zlib.crc32(name.encode(errors="surrogatepass")))
    at_once = max(_DRAWS_AT_ONCE // num_groups, 1)
    found = np.empty((NUM_RESAMPLES, sums_GK.shape[1]))
    for start in range(0, NUM_RESAMPLES, at_once):
        num = min(at_once, NUM_RESAMPLES - start)
        drawn = rng.integers(num_groups, size=(num, num_groups)) + np.arange(num)[:, None] * num_groups
        weights = np.bincount(drawn.reshape(-1), minlength=num * num_groups).reshape(num, num_groups)
        found[start : start + num] = weights.astype(np.float64) @ sums_GK
    return found


def estimates(values_M: NDArray[np.float64], resampled_RM: NDArray[np.float64]) -> list[Estimate]:
    """Return metrics with their intervals, from their values in all rows and in the resamples."""
    found: list[Estimate] = []
    for value, resampled in zip(values_M.tolist(), resampled_RM.T, strict=True):
        resampled = resampled[np.isfinite(resampled)]
        low, high = np.percentile(resampled, _PERCENTILES).tolist() if len(resampled) else (np.nan, np.nan)
        found.append(Estimate(value, low, high))
    return found


def paired_p_value(differences_R: NDArray[np.float64]) -> float:
    """Return the two-sided p-value of a difference from its values in the resamples; NaN if there are none."""
    differences = differences_R[np.isfinite(differences_R)]
    if not len(differences):
        return np.nan
    smaller = min((differences <= 0).sum(), (differences >= 0).sum())
    return min(1.0, 2 * (int(smaller) + 1) / (len(differences) + 1))


def mcnemar_p_value(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    Args:
        only_a, only_b: number of rows that only A, or only B, has right.
    """
    num, smaller = only_a + only_b, min(only_a, only_b)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, num + 1)))])
    k = np.arange(smaller + 1)
    log_probability = log_factorial[num] - log_factorial[k] - log_factorial[num - k] - num * np.log(2)
    return min(1.0, 2 * float(np.exp(log_probability).sum()))
