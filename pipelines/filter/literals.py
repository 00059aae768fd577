"""Convert a filter's literals to the exact type of the column that they are compared with.

Otherwise Arrow would cast the column: row groups could not be skipped by their statistics, some types cannot be cast at
all, and a float32 column would never equal 0.1.
"""

import ast
import datetime
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.formatting import excerpt, format_type
from xlm_core.errors import FatalError


class FilterError(FatalError):
    """The filter is not valid, or does not match the columns that it names."""


@dataclass(frozen=True)
class SourceSpan:
    """A part of the filter's source. The text is extracted only for error messages."""

    source: str
    node: ast.expr

    def __str__(self) -> str:
        return excerpt(ast.get_source_segment(self.source, self.node) or ast.unparse(self.node))

    def error(self, problem: str, advice: str) -> FilterError:
        """Build the error for this part: what is wrong, and what to write instead."""
        return FilterError(f"filter: {self} {problem}; {advice}")


@dataclass(frozen=True)
class ColumnRef:
    """A column that the filter reads.

    Attributes:
        name: its name.
        stored: its type in the data; None if the schema is not known.
    """

    name: str
    stored: pa.DataType | None

    @property
    def type(self) -> pa.DataType | None:
        """The type in which it is compared."""
        return None if self.stored is None else comparable_type(self.stored)

    @property
    def shown_type(self) -> str:
        """Its type, for error messages."""
        return "" if self.stored is None else excerpt(format_type(self.stored))

    @property
    def field(self) -> pc.Expression:
        """The Arrow expression for the column's values."""
        return pc.field(self.name)


@dataclass(frozen=True)
class Literal:
    """A value in the filter, and its position."""

    value: bool | int | float | str | datetime.date | datetime.datetime
    span: SourceSpan


# Of types that can be compared with a literal.
_KINDS = {"number", "text", "boolean", "date", "timestamp"}


def comparable_type(data_type: pa.DataType) -> pa.DataType:
    """Return the type in which a column is compared: the same values, in a layout that Arrow's functions support.

    They support neither string views nor float16, and only some of them small decimals and dictionaries.
    """
    types = pa.types
    if types.is_dictionary(data_type):
        return comparable_type(data_type.value_type)
    if types.is_string(data_type) or types.is_string_view(data_type):
        return pa.large_string()
    if types.is_float16(data_type):
        return pa.float32()
    if types.is_decimal32(data_type) or types.is_decimal64(data_type):
        return pa.decimal128(data_type.precision, data_type.scale)
    return data_type


def kind_of(data_type: pa.DataType) -> str:
    """Return the kind of a type. Only types of the same kind can be compared; any other type is a kind of its own."""
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


def to_scalar(literal: Literal, column: ColumnRef) -> pa.Scalar:
    """Convert a literal to the type of its column, or if that is not known, to a type that can represent it.

    Raises:
        FilterError: the type cannot represent the literal exactly (for float columns, the nearest float is used).
    """
    value, target, kind = literal.value, column.type, _kind_of_value(literal)
    name = excerpt(column.name)
    if target is None or pa.types.is_null(target):
        try:
            beyond_int64 = isinstance(value, int) and value.bit_length() > 63
            return pa.scalar(Decimal(str(value)) if beyond_int64 else value)
        except pa.ArrowException:
            raise literal.span.error(
                "has more digits than any type supports", f"compare {name} with a value of fewer digits"
            ) from None
    if kind == "date" and pa.types.is_timestamp(target) and isinstance(value, datetime.date):
        value, kind = datetime.datetime.combine(value, datetime.time()), "timestamp"
    if kind_of(target) not in _KINDS:
        raise literal.span.error(
            f"cannot be compared with {name}, which is {column.shown_type}", f"write {name} is None, or is not None"
        )
    if kind != kind_of(target):
        advice = {
            ("text", "number"): f'write {literal.span} in quotes; text is compared by characters, so "10" < "9"',
            ("text", "date"): 'write the text in the column, such as "2024-01-31"',
            ("number", "text"): "write the number without quotes",
            ("date", "text"): f"write date({literal.span})",
            ("timestamp", "text"): f"write timestamp({literal.span})",
            ("date", "timestamp"): "write date(…)",
        }.get((kind_of(target), kind), f"compare {name} with a value of its type")
        raise literal.span.error(f"is a {kind}, and {name} is {column.shown_type}", advice)
    if isinstance(value, datetime.datetime) and (value.tzinfo is None) != (target.tz is None):
        problem = f"has {'no' if target.tz else 'an'} offset, and {name} is {column.shown_type}"
        advice = 'write timestamp("2024-01-31T12:00:00Z")' if target.tz else "remove the offset"
        raise literal.span.error(problem, advice)
    try:
        if isinstance(value, datetime.datetime):
            return pa.scalar(value, type=pa.timestamp("us", tz=target.tz)).cast(target)
        if pa.types.is_decimal(target):
            return pa.scalar(Decimal(str(value)), type=target)
        if pa.types.is_floating(target) and isinstance(value, int | float):
            return pa.scalar(float(value), type=column.stored).cast(target)
        if pa.types.is_integer(target) and isinstance(value, float):
            # A direct conversion would truncate 2.5 to 2.
            return pa.scalar(Decimal(value), type=pa.decimal128(38, 0)).cast(target)
        return pa.scalar(value, type=target)
    except (pa.ArrowException, OverflowError, ValueError, TypeError, ArithmeticError):
        problem = f"does not fit {column.shown_type}, the type of {name}"
        raise literal.span.error(problem, "write a value that does") from None


def to_array(literals: list[Literal], column: ColumnRef, span: SourceSpan) -> pa.Array:
    """Convert a non-empty list of literals to the type of its column, or to a type that can represent them all.

    Args:
        literals: the values.
        column: the column that is compared with the list.
        span: the position of the list.

    Raises:
        FilterError: the literals are of different kinds, or the type cannot represent one of them.
    """
    kinds = {_kind_of_value(literal) for literal in literals}
    if len(kinds) > 1:
        raise span.error(f"mixes {' and '.join(sorted(kinds))}", "list values of one type")
    scalars = [to_scalar(literal, column) for literal in literals]
    values = [scalar.as_py() for scalar in scalars]
    for wider in (Decimal, float):  # a known column type would have unified them
        if column.type is None and any(isinstance(value, wider) for value in values):
            values = [wider(str(value)) for value in values]
    if column.type is not None and pa.types.is_floating(column.type) and 0.0 in values:
        values += [0.0, -0.0]  # equal, but different values for Arrow's is_in
    try:
        return pa.array(values, type=None if column.type is None else scalars[0].type)
    except (pa.ArrowException, TypeError):  # decimals of very different magnitude, or infinity
        raise span.error("has numbers that no single type can represent", "write fewer digits") from None


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
