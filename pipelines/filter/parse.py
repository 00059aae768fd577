"""Parse the row filter of a job into an Arrow expression.

    year >= 2024 and lang in ["de", "fr"] and not (title is None or is_draft)
    date >= date("2024-01-01") and 0 <= col("word count") < 10_000

A filter consists of comparisons, `and`, `or`, `not`, `in`, `not in`, `is None`, `is not None` and boolean columns.
Literals are strings, numbers, `True`, `False`, `date("…")` and `timestamp("…")`. `col("…")` refers to a column whose
name is not an identifier. The filter is parsed with Python's grammar, but never evaluated as Python.

Nulls behave as in SQL: a comparison with null is neither true nor false, so the row does not match, with or without
`not`.
"""

import ast
import datetime
import functools
import operator
import warnings
from collections.abc import Callable, Collection
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.filter.literals import (
    ColumnRef,
    FilterError,
    Literal,
    SourceSpan,
    comparable_type,
    kind_of,
    to_array,
    to_scalar,
)
from pipelines.formatting import closest_name, excerpt, format_type

MAX_CHARS = 100_000
MAX_DEPTH = 50  # nested and/or/not; Python's parser fails at about 100 levels

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], pc.Expression]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def parse_filter(text: str, schema: pa.Schema | None = None) -> tuple[pc.Expression, set[str]]:
    """Parse a filter into an Arrow expression.

    Args:
        text: the filter; may span several lines.
        schema: the schema of the data. If given, names and types are checked, and literals get the exact type in which
            their column is compared (`comparable_type`). Without it, only the syntax is checked.

    Returns:
        The expression, and the names of the columns that it reads (at least one). For rows that do not match, the
        expression is either null or false; which of the two is unspecified.

    Raises:
        FilterError: the filter is invalid. The message is one line that quotes the invalid part.
    """
    tree, source = _parse(text)
    compiler = _Compiler(source, schema)
    try:
        expression = compiler.condition(tree)
    except UnicodeEncodeError:  # an escaped lone surrogate in a literal or a column name
        raise FilterError("filter: a string contains half of a surrogate pair; write the character itself") from None
    if schema is not None:
        try:
            fields = [(name, comparable_type(schema.field(name).type)) for name in sorted(compiler.columns)]
            pa.Table.from_batches([], pa.schema(fields)).filter(expression)
        except (pa.ArrowException, NotImplementedError):
            types = ", ".join(f"{name} is {format_type(schema.field(name).type)}" for name in sorted(compiler.columns))
            raise FilterError(
                f"filter: the columns cannot be compared ({excerpt(types, 200)}); change the condition"
            ) from None
    return expression, compiler.columns


def conditions_on(columns: Collection[str], text: str) -> list[str]:
    """Return the conditions of a filter that concern only some columns: a row that it matches matches all of them.

    The filter is divided at its outermost `and`s.

    Args:
        columns: the names of these columns.
        text: the filter.

    Raises:
        FilterError: the filter is not valid Python.
    """
    conditions, parts = [_parse(text)[0]], list[str]()
    while conditions:
        condition = conditions.pop(0)
        if isinstance(condition, ast.BoolOp) and isinstance(condition.op, ast.And):
            conditions = condition.values + conditions
        else:
            parts.append(ast.unparse(condition))
    return [part for part in parts if parse_filter(part)[1] <= set(columns)]


def _parse(text: str) -> tuple[ast.expr, str]:
    """Parse with Python's grammar. Returns the tree, and the source to which the positions in the tree refer."""
    if not text.strip():
        raise FilterError('filter: empty; write a condition such as "year >= 2024", or leave the filter out')
    if len(text) > MAX_CHARS:
        raise FilterError(
            f"filter: got {len(text)} characters, expected at most {MAX_CHARS}; filter by a column instead of a long "
            "list of values"
        )
    source = f"(\n{text}\n)"  # in brackets, line breaks are ignored; a final comment ends before the bracket
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes such as "\d" in a string
            tree = ast.parse(source, mode="eval").body
    except SyntaxError as error:
        advice = (
            'write conditions such as year >= 2024, split == "train" or lang in ["de", "fr"], with ==, !=, <, <=, >, '
            '>=, in, not in, is None, and, or, not; and column names that are not identifiers as col("…")'
        )
        raise FilterError(f"filter: {excerpt(text)} is not valid ({excerpt(error.msg)}); {advice}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # a null byte, half a surrogate pair, deep nesting
        reason = excerpt(str(error)) if isinstance(error, ValueError) else "it is nested too deeply"
        raise FilterError(f"filter: not valid, {reason}; write a simpler condition") from None
    if tree.lineno == 1:  # the first bracket became part of the expression, as in `a) or (b` or `a, b`
        raise FilterError(
            f"filter: {excerpt(text)} is not one condition; join conditions with and / or, and balance the brackets"
        )
    return tree, source


class _Compiler:
    """Compile the tree in one pass, with `not` pushed down to the comparisons.

    If `not` applies only to comparisons, the levels above need not distinguish null from false: both mean that the row
    does not match. So `in` can be compiled to Arrow's `is_in`, which returns false for null.
    """

    def __init__(self, source: str, schema: pa.Schema | None):
        self.source = source
        self.schema = schema
        self.columns: set[str] = set()

    def condition(self, node: ast.expr, negate: bool = False, depth: int = 0) -> pc.Expression:
        if depth > MAX_DEPTH:
            raise FilterError(f"filter: nested deeper than {MAX_DEPTH} levels; write a simpler condition")
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
        if isinstance(operand, Literal):
            raise self.error(node, "is a value, not a condition", "compare a column with it")
        if operand.type is not None and kind_of(operand.type) != "boolean":
            raise self.error(node, f"is {operand.shown_type}, not a condition", "compare it with a value")
        return ~operand.field if negate else operand.field

    def comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr, negate: bool) -> pc.Expression:
        if isinstance(op, ast.Is | ast.IsNot):
            if not (isinstance(right, ast.Constant) and right.value is None):
                raise self.error(right, "is not allowed after is", "write `is None`, `is not None`, == or !=")
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
        if isinstance(a, ColumnRef) and isinstance(b, ColumnRef):
            if a.type is not None and b.type is not None and kind_of(a.type) != kind_of(b.type):
                raise self.error(
                    left, f"is {a.shown_type}, {excerpt(b.name)} is {b.shown_type}", "compare columns of one type"
                )
            return a.field, b.field
        if isinstance(a, ColumnRef) and isinstance(b, Literal):
            return a.field, pc.scalar(to_scalar(b, a))
        if isinstance(a, Literal) and isinstance(b, ColumnRef):
            return pc.scalar(to_scalar(a, b)), b.field
        raise self.error(left, f"and {self.span(right)} are both values", "compare a column with a value")

    def members(self, column: ColumnRef, node: ast.expr) -> pa.Array:
        if not isinstance(node, ast.List | ast.Tuple):
            raise self.error(node, "is not a list", 'write the values in brackets, as in lang in ["de", "fr"]')
        if not node.elts:
            raise self.error(node, "is an empty list, so no row would match", "list at least one value")
        values: list[Literal] = []
        for element in node.elts:
            value = self.operand(element)
            if isinstance(value, ColumnRef):
                raise self.error(element, "is a column", "write only values in a list")
            values.append(value)
        return to_array(values, column, self.span(node))

    def column(self, node: ast.expr) -> ColumnRef:
        operand = self.operand(node)
        if isinstance(operand, ColumnRef):
            return operand
        raise self.error(node, "is not a column", "put the column on the left")

    def operand(self, node: ast.expr) -> ColumnRef | Literal:
        match node:
            case ast.Name(id=name):
                return self.column_ref(name)
            case ast.Call(func=ast.Name(id="col"), args=[ast.Constant(value=str(name))], keywords=[]):
                return self.column_ref(name)
            case ast.Call(func=ast.Name(id="date"), args=[ast.Constant(value=str(day))], keywords=[]):
                try:
                    return Literal(datetime.date.fromisoformat(day), self.span(node))
                except ValueError:
                    raise self.error(node, "is not a date", 'write date("2024-01-31")') from None
            case ast.Call(func=ast.Name(id="timestamp"), args=[ast.Constant(value=str(time))], keywords=[]):
                try:
                    return Literal(datetime.datetime.fromisoformat(time), self.span(node))
                except ValueError:
                    raise self.error(node, "is not a time", 'write timestamp("2024-01-31T12:00:00")') from None
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return Literal(value, self.span(node))
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return Literal(-value, self.span(node))
            case ast.Constant(value=None):
                raise self.error(node, "cannot be compared", "write `is None` or `is not None`")
            case _:
                known = 'columns, col("…"), values, date("…"), timestamp("…"), comparisons, in, is None, and, or, not'
                raise self.error(node, "is not part of the filter language", f"use {known}")

    def column_ref(self, name: str) -> ColumnRef:
        stored = None
        if self.schema is not None:
            found = self.schema.names.count(name)
            if found > 1:
                raise FilterError(f"filter: the data has {found} columns {excerpt(name)}; rename all but one")
            if not found:
                closest = closest_name(name, self.schema.names)
                hint = f"did you mean {closest}?" if closest else f"it has {excerpt(', '.join(self.schema.names), 200)}"
                raise FilterError(f"filter: the data has no column {excerpt(name)}; {hint}")
            stored = self.schema.field(name).type
            if pa.types.is_dictionary(stored):
                stored = stored.value_type
        self.columns.add(name)
        return ColumnRef(name, stored)

    def span(self, node: ast.expr) -> SourceSpan:
        return SourceSpan(self.source, node)

    def error(self, node: ast.expr, problem: str, advice: str) -> FilterError:
        return self.span(node).error(problem, advice)


def _join(parts: list[pc.Expression], *, use_and: bool) -> pc.Expression:
    """Combine conditions in a balanced tree: Arrow recurses, and a chain of 10,000 `or` would overflow its stack."""
    combine = operator.and_ if use_and else operator.or_
    while len(parts) > 1:
        parts = [functools.reduce(combine, parts[i : i + 2]) for i in range(0, len(parts), 2)]
    return parts[0]
