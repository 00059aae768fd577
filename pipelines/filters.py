"""The job's row filter: a small expression language, turned into an Arrow expression that Parquet can push down.

    year >= 2024 and lang in ["de", "fr"] and not (title is None or is_draft)
    date >= date("2024-01-01") and 0 <= col("word count") < 10_000

Comparisons, `and`, `or`, `not`, `in`, `not in`, `is None`, `is not None`, and boolean columns by themselves. Literals
are text, numbers, `True`, `False`, `date("…")` and `timestamp("…")`; `col("…")` names a column that is not a plain
word. The text is parsed with Python's grammar and never evaluated.

Nulls behave as in SQL: a comparison with a null is neither true nor false, so the row does not match, and neither does
it match under `not`.
"""

import ast
import datetime
import difflib
import functools
import operator
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from xlm_core.errors import FatalError

MAX_CHARS = 100_000
MAX_DEPTH = 50  # of and/or/not in each other; Python's parser gives up near 100

FilterValue = bool | int | float | str | datetime.date | datetime.datetime

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], pc.Expression]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}


class FilterError(FatalError):
    """A filter that cannot be read, or does not fit the columns it names."""


@dataclass(frozen=True)
class _Column:
    name: str
    type: pa.DataType | None  # None as long as no schema is known

    @property
    def field(self) -> pc.Expression:
        return pc.field(self.name)


@dataclass(frozen=True)
class _Value:
    value: FilterValue
    node: ast.expr


def parse_filter(text: str, schema: pa.Schema | None = None) -> tuple[pc.Expression, set[str]]:
    """Turn a filter into an Arrow expression.

    Args:
        text: the filter; it may run over several lines.
        schema: the data's columns. With it, names and types are checked and literals take their column's exact type, so
            that no value of the data is ever cast; without it only the syntax is checked.

    Returns:
        The expression, and the names of the columns it reads, at least one. As a filter it keeps and drops rows as
        said above; whether it is null or false where a row is dropped is unspecified.

    Raises:
        FilterError: one line that shows the piece at fault.
    """
    tree, source = _parse(text)
    compiler = _Compiler(source, schema)
    try:
        expression = compiler.condition(tree)
    except UnicodeEncodeError:  # an escaped lone surrogate in a literal or a column's name
        raise FilterError("filter: a text holds half of a surrogate pair; write the character itself") from None
    if schema is not None:
        try:
            schema.empty_table().select(sorted(compiler.columns)).filter(expression)
        except (pa.ArrowException, NotImplementedError) as error:
            reason = _clip(str(error), 200)
            columns = _clip(", ".join(sorted(compiler.columns)))
            raise FilterError(f"filter: Arrow cannot filter by {columns}: {reason}; change the filter") from None
    return expression, compiler.columns


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Find the known name that was probably meant; case and a few letters may differ."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.7)
    return by_folded[matches[0]] if matches else None


def _parse(text: str) -> tuple[ast.expr, str]:
    """Parse with Python's grammar; the source is returned as the tree's positions see it."""
    if not text.strip():
        raise FilterError('filter: empty; write a condition such as "year >= 2024", or leave the filter out')
    if len(text) > MAX_CHARS:
        raise FilterError(f"filter: {len(text)} characters, at most {MAX_CHARS} are read; keep long lists in a column")
    source = f"(\n{text}\n)"  # line breaks mean nothing inside brackets, and a comment ends before the last one
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of "\d" in a text
            tree = ast.parse(source, mode="eval").body
    except SyntaxError as error:
        advice = 'write conditions like year >= 2024, and unusual column names as col("…")'
        raise FilterError(f"filter: {_clip(text)} is not readable ({_clip(error.msg)}); {advice}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # a null byte, half a surrogate pair, deep nesting
        reason = _clip(str(error)) if isinstance(error, ValueError) else "it nests too deep"
        raise FilterError(f"filter: not readable, {reason}; write a simpler condition") from None
    if tree.lineno == 1:  # the first bracket belongs to the expression: `a) or (b`, or `a, b`
        raise FilterError(f"filter: {_clip(text)} is not one condition; join with and / or, and match the brackets")
    return tree, source


class _Compiler:
    """Walk the tree once; `negate` is carried down to the comparisons.

    With `not` only ever applied to a comparison, null and false need not be told apart above it: `and` and `or` of
    things that do not match do not match. That is what lets `in` be Arrow's `is_in`, which calls a null "not in".
    """

    def __init__(self, source: str, schema: pa.Schema | None):
        self.source = source
        self.schema = schema
        self.columns: set[str] = set()

    def condition(self, node: ast.expr, negate: bool = False, depth: int = 0) -> pc.Expression:
        if depth > MAX_DEPTH:
            raise FilterError(f"filter: nests deeper than {MAX_DEPTH} levels; write a simpler condition")
        match node:
            case ast.BoolOp(op=op, values=values):
                parts = [self.condition(value, negate, depth + 1) for value in values]
                return _join(parts, use_and=isinstance(op, ast.And) != negate)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.condition(operand, not negate, depth + 1)
            case ast.Compare(left=left, ops=ops, comparators=rights):
                pairs = zip([left, *rights], ops, rights, strict=False)
                return _join([self.comparison(a, op, b, negate) for a, op, b in pairs], use_and=not negate)
            case _:
                operand = self.operand(node)
        if isinstance(operand, _Value):
            raise self.error(node, "is a value, not a condition", "compare a column with it")
        if operand.type is not None and _kind(operand.type) != "boolean":
            raise self.error(node, f"is {operand.type}, not a condition by itself", "compare it with a value")
        return ~operand.field if negate else operand.field

    def comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr, negate: bool) -> pc.Expression:
        if isinstance(op, ast.Is | ast.IsNot):
            if not (isinstance(right, ast.Constant) and right.value is None):
                raise self.error(right, "stands after is", "only `is None` and `is not None` are known; write == or !=")
            field = self.column(left).field
            return field.is_null() if isinstance(op, ast.Is) != negate else field.is_valid()
        if isinstance(op, ast.In | ast.NotIn):
            column = self.column(left)
            member = column.field.isin(self.members(column, right))
            return member if isinstance(op, ast.In) != negate else ~member & column.field.is_valid()
        result = _COMPARE[type(op)](*self.sides(left, right))
        return ~result if negate else result

    def sides(self, left: ast.expr, right: ast.expr) -> tuple[pc.Expression, pc.Expression]:
        a, b = self.operand(left), self.operand(right)
        if isinstance(a, _Column) and isinstance(b, _Column):
            if a.type is not None and b.type is not None and _kind(a.type) != _kind(b.type):
                raise self.error(left, f"is {a.type}, {_clip(b.name)} is {b.type}", "compare columns of one type")
            return a.field, b.field
        if isinstance(a, _Column) and isinstance(b, _Value):
            return a.field, pc.scalar(self.scalar(a, b))
        if isinstance(a, _Value) and isinstance(b, _Column):
            return pc.scalar(self.scalar(b, a)), b.field
        raise self.error(left, f"and {self.piece(right)} are both values", "compare a column with a value")

    def members(self, column: _Column, node: ast.expr) -> pa.Array:
        if not isinstance(node, ast.List | ast.Tuple):
            raise self.error(node, "is not a list", 'write the values in brackets, as in lang in ["de", "fr"]')
        if not node.elts:
            raise self.error(node, "is empty, so no row would match", "list at least one value")
        values: list[_Value] = []
        for element in node.elts:
            value = self.operand(element)
            if isinstance(value, _Column):
                raise self.error(element, "is a column", "only values may stand in a list")
            values.append(value)
        kinds = {_kind_of_value(value.value) for value in values}
        if len(kinds) > 1:
            raise self.error(node, f"mixes {' and '.join(sorted(kinds))}", "list values of one type")
        scalars = [self.scalar(column, value) for value in values]
        numbers = [scalar.as_py() for scalar in scalars]
        for wider in (Decimal, float):  # what a schema would have made alike
            if column.type is None and any(isinstance(number, wider) for number in numbers):
                numbers = [wider(str(number)) for number in numbers]
        try:
            return pa.array(numbers, type=scalars[0].type if column.type else None)
        except pa.ArrowException:  # decimals of very different size
            raise self.error(node, "has numbers that no one type holds", "write fewer digits") from None

    def column(self, node: ast.expr) -> _Column:
        operand = self.operand(node)
        if isinstance(operand, _Column):
            return operand
        raise self.error(node, "is not a column", "put the column on the left")

    def operand(self, node: ast.expr) -> _Column | _Value:
        match node:
            case ast.Name(id=name):
                return self.named(name)
            case ast.Call(func=ast.Name(id="col"), args=[ast.Constant(value=str(name))], keywords=[]):
                return self.named(name)
            case ast.Call(func=ast.Name(id="date"), args=[ast.Constant(value=str(day))], keywords=[]):
                try:
                    return _Value(datetime.date.fromisoformat(day), node)
                except ValueError:
                    raise self.error(node, "is not a date", 'write date("2024-01-31")') from None
            case ast.Call(func=ast.Name(id="timestamp"), args=[ast.Constant(value=str(time))], keywords=[]):
                try:
                    return _Value(datetime.datetime.fromisoformat(time), node)
                except ValueError:
                    raise self.error(node, "is not a time", 'write timestamp("2024-01-31T12:00:00")') from None
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return _Value(value, node)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return _Value(-value, node)
            case ast.Constant(value=None):
                raise self.error(node, "compares with nothing", "write `is None` or `is not None`")
            case _:
                known = 'columns, col("…"), values, date("…"), timestamp("…"), comparisons, in, is None, and, or, not'
                raise self.error(node, "is not part of the filter language", f"it has {known}")

    def named(self, name: str) -> _Column:
        column_type = None
        if self.schema is not None:
            found = self.schema.names.count(name)
            if found > 1:
                raise FilterError(f"filter: the data has {found} columns {_clip(name)}; rename all but one")
            if not found:
                meant = nearest(name, self.schema.names)
                hint = f"did you mean {meant}?" if meant else f"it has {_clip(', '.join(self.schema.names), 200)}"
                raise FilterError(f"filter: the data has no column {_clip(name)}; {hint}")
            column_type = self.schema.field(name).type
            if pa.types.is_dictionary(column_type):
                column_type = column_type.value_type
        self.columns.add(name)
        return _Column(name, column_type)

    def scalar(self, column: _Column, literal: _Value) -> pa.Scalar:
        """Give a literal its column's exact type, or refuse it: else Arrow would cast the data, and some cannot be."""
        value, target, kind = literal.value, column.type, _kind_of_value(literal.value)
        name = _clip(column.name)
        if target is None or pa.types.is_null(target):
            try:
                beyond_int64 = isinstance(value, int) and value.bit_length() > 63
                return pa.scalar(Decimal(str(value)) if beyond_int64 else value)
            except pa.ArrowException:
                raise self.error(literal.node, "has more digits than any type", f"compare {name} with less") from None
        if kind == "date" and pa.types.is_timestamp(target) and isinstance(value, datetime.date):
            value, kind = datetime.datetime.combine(value, datetime.time()), "timestamp"
        if kind != _kind(target):
            shown = self.piece(literal.node)
            advice = {
                ("text", "number"): f"write {shown} in quotes",
                ("number", "text"): "write the number without quotes",
                ("date", "text"): f"write date({shown})",
                ("timestamp", "text"): f"write timestamp({shown})",
                ("date", "timestamp"): "write date(…)",
            }.get((_kind(target), kind), f"compare {name} with a value of its type")
            raise self.error(literal.node, f"is a {kind}, and {name} is {_clip(str(target))}", advice)
        if isinstance(value, datetime.datetime) and (value.tzinfo is None) != (target.tz is None):
            problem = f"has {'no' if target.tz else 'an'} offset, and {name} is {target}"
            advice = 'write timestamp("2024-01-31T12:00:00Z")' if target.tz else "leave the offset away"
            raise self.error(literal.node, problem, advice)
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
            raise self.error(literal.node, f"cannot be {target}, as {name} is", "write one that can") from None

    def piece(self, node: ast.expr) -> str:
        return _clip(ast.get_source_segment(self.source, node) or ast.unparse(node))

    def error(self, node: ast.expr, problem: str, advice: str) -> FilterError:
        return FilterError(f"filter: {self.piece(node)} {problem}; {advice}")


def _join(parts: list[pc.Expression], *, use_and: bool) -> pc.Expression:
    """Combine in a balanced tree: Arrow recurses, and a chain of ten thousand `or` would end its stack."""
    combine = operator.and_ if use_and else operator.or_
    while len(parts) > 1:
        parts = [functools.reduce(combine, parts[i : i + 2]) for i in range(0, len(parts), 2)]
    return parts[0]


def _kind(data_type: pa.DataType) -> str:
    """The types that compare with each other share a kind; any other type is its own."""
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


def _kind_of_value(value: FilterValue) -> str:
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
        case _:
            return "timestamp" if isinstance(value, datetime.datetime) else "date"


def _clip(text: str, width: int = 60) -> str:
    """Make any text fit one line of a message."""
    line = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in " ".join(text.split()))
    return line if len(line) <= width else line[: width - 1] + "…"
