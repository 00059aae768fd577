"""The job's row filter: a small expression language, turned into an Arrow expression.

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
import functools
import operator
import warnings
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.filter.literals import Column, FilterError, Literal, Piece, kind_of, to_array, to_scalar
from pipelines.formatting import closest_name, one_line_excerpt

MAX_CHARS = 100_000
MAX_DEPTH = 50  # of and/or/not in each other; Python's parser gives up near 100

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], pc.Expression]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


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
            reason = one_line_excerpt(str(error), 200)
            columns = one_line_excerpt(", ".join(sorted(compiler.columns)))
            raise FilterError(f"filter: Arrow cannot filter by {columns}: {reason}; change the filter") from None
    return expression, compiler.columns


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
        raise FilterError(f"filter: {one_line_excerpt(text)} is not readable ({one_line_excerpt(error.msg)}); {advice}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # a null byte, half a surrogate pair, deep nesting
        reason = one_line_excerpt(str(error)) if isinstance(error, ValueError) else "it nests too deep"
        raise FilterError(f"filter: not readable, {reason}; write a simpler condition") from None
    if tree.lineno == 1:  # the first bracket belongs to the expression: `a) or (b`, or `a, b`
        raise FilterError(f"filter: {one_line_excerpt(text)} is not one condition; join with and / or, and match the brackets")
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
        if isinstance(operand, Literal):
            raise self.error(node, "is a value, not a condition", "compare a column with it")
        if operand.type is not None and kind_of(operand.type) != "boolean":
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
        if isinstance(a, Column) and isinstance(b, Column):
            if a.type is not None and b.type is not None and kind_of(a.type) != kind_of(b.type):
                raise self.error(left, f"is {a.type}, {one_line_excerpt(b.name)} is {b.type}", "compare columns of one type")
            return a.field, b.field
        if isinstance(a, Column) and isinstance(b, Literal):
            return a.field, pc.scalar(to_scalar(b, a))
        if isinstance(a, Literal) and isinstance(b, Column):
            return pc.scalar(to_scalar(a, b)), b.field
        raise self.error(left, f"and {self.piece(right)} are both values", "compare a column with a value")

    def members(self, column: Column, node: ast.expr) -> pa.Array:
        if not isinstance(node, ast.List | ast.Tuple):
            raise self.error(node, "is not a list", 'write the values in brackets, as in lang in ["de", "fr"]')
        if not node.elts:
            raise self.error(node, "is empty, so no row would match", "list at least one value")
        values: list[Literal] = []
        for element in node.elts:
            value = self.operand(element)
            if isinstance(value, Column):
                raise self.error(element, "is a column", "only values may stand in a list")
            values.append(value)
        return to_array(values, column, self.piece(node))

    def column(self, node: ast.expr) -> Column:
        operand = self.operand(node)
        if isinstance(operand, Column):
            return operand
        raise self.error(node, "is not a column", "put the column on the left")

    def operand(self, node: ast.expr) -> Column | Literal:
        match node:
            case ast.Name(id=name):
                return self.named(name)
            case ast.Call(func=ast.Name(id="col"), args=[ast.Constant(value=str(name))], keywords=[]):
                return self.named(name)
            case ast.Call(func=ast.Name(id="date"), args=[ast.Constant(value=str(day))], keywords=[]):
                try:
                    return Literal(datetime.date.fromisoformat(day), self.piece(node))
                except ValueError:
                    raise self.error(node, "is not a date", 'write date("2024-01-31")') from None
            case ast.Call(func=ast.Name(id="timestamp"), args=[ast.Constant(value=str(time))], keywords=[]):
                try:
                    return Literal(datetime.datetime.fromisoformat(time), self.piece(node))
                except ValueError:
                    raise self.error(node, "is not a time", 'write timestamp("2024-01-31T12:00:00")') from None
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return Literal(value, self.piece(node))
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return Literal(-value, self.piece(node))
            case ast.Constant(value=None):
                raise self.error(node, "compares with nothing", "write `is None` or `is not None`")
            case _:
                known = 'columns, col("…"), values, date("…"), timestamp("…"), comparisons, in, is None, and, or, not'
                raise self.error(node, "is not part of the filter language", f"it has {known}")

    def named(self, name: str) -> Column:
        column_type = None
        if self.schema is not None:
            found = self.schema.names.count(name)
            if found > 1:
                raise FilterError(f"filter: the data has {found} columns {one_line_excerpt(name)}; rename all but one")
            if not found:
                meant = closest_name(name, self.schema.names)
                hint = f"did you mean {meant}?" if meant else f"it has {one_line_excerpt(', '.join(self.schema.names), 200)}"
                raise FilterError(f"filter: the data has no column {one_line_excerpt(name)}; {hint}")
            column_type = self.schema.field(name).type
            if pa.types.is_dictionary(column_type):
                column_type = column_type.value_type
        self.columns.add(name)
        return Column(name, column_type)

    def piece(self, node: ast.expr) -> Piece:
        return Piece(self.source, node)

    def error(self, node: ast.expr, problem: str, advice: str) -> FilterError:
        return self.piece(node).error(problem, advice)


def _join(parts: list[pc.Expression], *, use_and: bool) -> pc.Expression:
    """Combine in a balanced tree: Arrow recurses, and a chain of ten thousand `or` would end its stack."""
    combine = operator.and_ if use_and else operator.or_
    while len(parts) > 1:
        parts = [functools.reduce(combine, parts[i : i + 2]) for i in range(0, len(parts), 2)]
    return parts[0]
