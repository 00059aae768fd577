"""Judge whether two outputs differ by more than a user allows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.errors import FatalError
from pipelines.formatting import closest_name, excerpt, format_count, format_percent, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipelines.diff.compare_outputs import ColumnDiff, OutputDiff

# The kinds of columns that a condition is about. Scores also belong to labels and spans, which are values.
_COLUMN_KINDS = {"values": ("values",), "numbers": ("values", "numbers"), "vectors": ("vectors",)}
_NUMBER = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")


@dataclass(frozen=True)
class DriftLimit:
    """One condition under which two outputs have drifted apart.

    Attributes:
        text: as the user wrote it, such as `values=0.01`.
        kind: what is compared, such as `values`.
        limit: how much difference is allowed; None for none.
    """

    text: str
    kind: str
    limit: float | None

    def find_drift(self, diff: OutputDiff) -> list[str]:
        """Return what exceeds the limit, one line for each column or kind of row."""
        found = _KINDS[self.kind].find(diff, self.limit)
        if self.kind in _COLUMN_KINDS and not _select(diff, self.kind):  # nothing was compared
            found = ["the outputs have no rows with such a column in common"]
        return [f"{self.text}: {line}" for line in found]


def parse_drift_limits(texts: Sequence[str], option: str) -> list[DriftLimit]:
    """Parse conditions such as `rows`, `values=0.01` or `vectors=0.999`.

    Args:
        texts: the conditions.
        option: the name of the option, for error messages.

    Raises:
        FatalError: there is no such condition, or its limit is not a number in the right range.
    """
    limits: list[DriftLimit] = []
    for text in texts:
        kind, equals, number = text.partition("=")
        if kind not in _KINDS:
            similar = closest_name(kind, _KINDS)
            hint = f"did you mean {similar}?" if similar else f"expected {', '.join(_KINDS)}"
            raise FatalError(f"{option}: {excerpt(kind)!r} is not a kind of difference; {hint}")
        expected, low, high = _KINDS[kind].expected, _KINDS[kind].low, _KINDS[kind].high
        if equals and not expected:
            raise FatalError(f"{option}: {kind} has no limit; write {kind} alone")
        if equals and not (_NUMBER.fullmatch(number) and low <= float(number) <= high):
            raise FatalError(f"{option}: {kind}: got {excerpt(number)!r}, expected {expected}")
        limits.append(DriftLimit(text, kind, float(number) if equals else None))
    return limits


def _find_rows(diff: OutputDiff, limit: float | None) -> Iterator[str]:
    num_single = diff.total.only_a + diff.total.only_b
    if num_single > (limit or 0) * diff.total.total:
        share = format_percent(num_single, diff.total.total)
        yield f"{num_single:,} of {format_count(diff.total.total, 'row')} in only one output ({share})"
    if diff.a.num_repeats != diff.b.num_repeats:
        repeats = f"{format_count(diff.a.num_repeats, 'row')} in A, {diff.b.num_repeats:,} in B"
        yield f"rows with the id of an earlier row: {repeats}"


def _find_columns(diff: OutputDiff, _: float | None) -> Iterator[str]:
    for output, names in (("A", diff.only_a), ("B", diff.only_b)):
        if names:
            yield f"only in {output}: {', '.join(map(one_line, names))}"
    if names := [one_line(column.name) for column in diff.columns if column.comparison is None]:
        yield f"of types that cannot be compared: {', '.join(names)}"


def _find_values(diff: OutputDiff, limit: float | None) -> Iterator[str]:
    for column in _select(diff, "values"):
        changed, rows = column.total.changed, column.total.rows
        if changed > (limit or 0) * rows:
            share = format_percent(changed, rows)
            yield f"{one_line(column.name)} changed in {changed:,} of {format_count(rows, 'row')} ({share})"


def _find_numbers(diff: OutputDiff, limit: float | None) -> Iterator[str]:
    for column in _select(diff, "numbers"):
        total = column.total
        if total.gap > (limit or 0):
            yield f"{one_line(column.name)} has differences of up to {total.gap:.3g}"
        elif _kind(column) == "numbers" and total.unmeasured:
            yield f"{one_line(column.name)} is missing or has another length in {format_count(total.unmeasured, 'row')}"


def _find_vectors(diff: OutputDiff, limit: float | None) -> Iterator[str]:
    for column in _select(diff, "vectors"):
        total = column.total
        if total.min_similarity < (1 if limit is None else limit):
            yield f"{one_line(column.name)} has a similarity of {total.min_similarity:.6f} in one row"
        elif total.unmeasured or (limit is None and total.changed):
            yield f"{one_line(column.name)} changed in {format_count(total.changed, 'row')}"


def _find_any(diff: OutputDiff, _: float | None) -> Iterator[str]:
    for find in (_find_rows, _find_columns, _find_values, _find_numbers, _find_vectors):
        yield from find(diff, None)


def _select(diff: OutputDiff, kind: str) -> list[ColumnDiff]:
    return [column for column in diff.columns if column.total.rows and _kind(column) in _COLUMN_KINDS[kind]]


def _kind(column: ColumnDiff) -> str | None:
    """Return the kind of difference that the values of a column have; None if they cannot be compared."""
    if column.comparison is None:
        return None
    if column.comparison.similarity:
        return "vectors"
    return "numbers" if column.comparison.is_numeric else "values"


@dataclass(frozen=True)
class _Kind:
    """How a kind of difference is found, and which limits it may have."""

    find: Callable[[OutputDiff, float | None], Iterator[str]]
    expected: str = ""
    low: float = 0.0
    high: float = float("inf")


_KINDS = {
    "any": _Kind(_find_any),
    "rows": _Kind(_find_rows, "the share of rows that may be in only one output, from 0 to 1", high=1),
    "columns": _Kind(_find_columns),
    "values": _Kind(_find_values, "the share of rows that may have another value, from 0 to 1", high=1),
    "numbers": _Kind(_find_numbers, "the largest difference that a number may have, from 0"),
    "vectors": _Kind(_find_vectors, "the smallest similarity that a vector may have, from -1 to 1", low=-1, high=1),
}
