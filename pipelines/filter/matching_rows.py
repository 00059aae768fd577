"""Find the rows of a table that a filter matches."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipelines.filter.literals import comparable_type
from pipelines.filter.parse import parse_filter

_NUMBER = "_xlm_number"  # of a row in the table; input columns that a job names must not start with _xlm_


def matching_rows(text: str, table: pa.Table) -> pa.BooleanArray:
    """Return for each row of a table whether the filter matches it.

    Columns are compared in the type that `parse_filter` checks them in, for any layout of their values.

    Raises:
        FilterError: the filter is invalid, or does not match the columns of the table.
    """
    expression, names = parse_filter(text, table.schema)
    columns = {name: table[name].cast(comparable_type(table.schema.field(name).type)) for name in sorted(names)}
    numbers = pa.table([*columns.values(), np.arange(len(table))], [*columns, _NUMBER])
    matches = np.zeros(len(table), np.bool_)
    matches[numbers.filter(expression)[_NUMBER].to_numpy()] = True
    return pa.array(matches)
