"""A filter's literals in the exact type of the column they are compared with.

With another type Arrow would cast the data: row groups could no longer be skipped by their statistics, some types
cannot be cast at all, and a float32 column would never equal 0.1.
"""

import ast
import datetime
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.formatting import one_line_excerpt
from xlm_core.errors import FatalError


class FilterError(FatalError):
    """A filter that cannot be read, or does not fit the columns it names."""


@dataclass(frozen=True)
class Piece:
    """A piece of the filter, looked up in the text only when there is something to say about it."""

    source: str
    node: ast.expr

    def __str__(self) -> str:
        return one_line_excerpt(ast.get_source_segment(self.source, self.node) or ast.unparse(self.node))

    def error(self, problem: str, advice: str) -> FilterError:
        """Say what is wrong with it, and what to write."""
        return FilterError(f"filter: {self} {problem}; {advice}")


@dataclass(frozen=True)
class Column:
    """A column that the filter reads; its type is None as long as no schema is known."""

    name: str
    type: pa.DataType | None

    @property
    def field(self) -> pc.Expression:
        """Its values, row by row."""
        return pc.field(self.name)


@dataclass(frozen=True)
class Literal:
    """A value of the filter, and where it stands."""

    value: bool | int | float | str | datetime.date | datetime.datetime
    piece: Piece


def kind_of(data_type: pa.DataType) -> str:
    """Name the kind of a type: types of one kind compare with each other, and any other type is its own kind."""
    types = pa.types
    if types.is_integer(data_type) or types.is_floating(data_type) or types.is_decimal(data_type):
        return "number"
    if types.is_string(data_type) or types.is_large_string(data_type) or types.is_string_view(data_type):
        return "text"
    if types.is_boolean(data_type):
        return "boolean"
    if types.is_date(data_type):
        return "date"
    return "timestamp" if types.is_timestamp(data_type) else str(data_type)


def to_scalar(literal: Literal, column: Column) -> pa.Scalar:
    """Give a literal its column's type; without a known type, one that holds it.

    Raises:
        FilterError: the type cannot hold the literal exactly (a float column takes the nearest float).
    """
    value, target, kind = literal.value, column.type, _kind_of_value(literal)
    name = one_line_excerpt(column.name)
    if target is None or pa.types.is_null(target):
        try:
            beyond_int64 = isinstance(value, int) and value.bit_length() > 63
            return pa.scalar(Decimal(str(value)) if beyond_int64 else value)
        except pa.ArrowException:
            raise literal.piece.error("has more digits than any type", f"compare {name} with less") from None
    if kind == "date" and pa.types.is_timestamp(target) and isinstance(value, datetime.date):
        value, kind = datetime.datetime.combine(value, datetime.time()), "timestamp"
    if kind != kind_of(target):
        advice = {
            ("text", "number"): f"write {literal.piece} in quotes",
            ("number", "text"): "write the number without quotes",
            ("date", "text"): f"write date({literal.piece})",
            ("timestamp", "text"): f"write timestamp({literal.piece})",
            ("date", "timestamp"): "write date(…)",
        }.get((kind_of(target), kind), f"compare {name} with a value of its type")
        raise literal.piece.error(f"is a {kind}, and {name} is {one_line_excerpt(str(target))}", advice)
    if isinstance(value, datetime.datetime) and (value.tzinfo is None) != (target.tz is None):
        problem = f"has {'no' if target.tz else 'an'} offset, and {name} is {target}"
        advice = 'write timestamp("2024-01-31T12:00:00Z")' if target.tz else "leave the offset away"
        raise literal.piece.error(problem, advice)
    try:
        if isinstance(value, datetime.datetime):
            return pa.scalar(value, type=pa.timestamp("us", tz=target.tz)).cast(target)
        if pa.types.is_decimal(target):
            return pa.scalar(Decimal(str(value)), type=target)
        if pa.types.is_floating(target) and isinstance(value, int):
            return pa.scalar(float(value), type=target)
        if pa.types.is_integer(target) and isinstance(value, float):
            return pa.scalar(Decimal(value), type=pa.decimal128(38, 0)).cast(target)  # from a float, 2.5 becomes 2
        return pa.scalar(value, type=target)
    except (pa.ArrowException, OverflowError, ValueError, TypeError, ArithmeticError):
        raise literal.piece.error(f"cannot be {target}, as {name} is", "write one that can") from None


def to_array(literals: list[Literal], column: Column, piece: Piece) -> pa.Array:
    """Give a list of literals, at least one, its column's type; without a known type, one that holds them all.

    Args:
        literals: the values.
        column: what is looked for among them.
        piece: where the list stands.

    Raises:
        FilterError: they are of several kinds, or the type cannot hold one of them.
    """
    kinds = {_kind_of_value(literal) for literal in literals}
    if len(kinds) > 1:
        raise piece.error(f"mixes {' and '.join(sorted(kinds))}", "list values of one type")
    scalars = [to_scalar(literal, column) for literal in literals]
    values = [scalar.as_py() for scalar in scalars]
    for wider in (Decimal, float):  # what a schema would have made alike
        if column.type is None and any(isinstance(value, wider) for value in values):
            values = [wider(str(value)) for value in values]
    try:
        return pa.array(values, type=None if column.type is None else scalars[0].type)
    except (pa.ArrowException, TypeError):  # decimals of very different size, or infinity among them
        raise piece.error("has numbers that no one type holds", "write fewer digits") from None


def _kind_of_value(literal: Literal) -> str:
    match literal.value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
        case datetime.datetime():
            return "timestamp"
        case _:
            return "date"
