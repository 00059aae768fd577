"""Which row groups of an input file a filter can match, judging by the statistics in the footer alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as ds

from pipelines.errors import FatalError
from pipelines.filter import conditions_on, parse_filter

if TYPE_CHECKING:
    from collections.abc import Collection

    import pyarrow.compute as pc


def matching_row_groups(footer: bytes, filter_text: str, sound: Collection[str]) -> list[int]:
    """Find the row groups that may contain rows that a filter matches. Row groups without statistics always may.

    The filter is divided at its outermost `and`s. Conditions on columns whose statistics do not tell exclude nothing:
    floats, because minimum and maximum leave out NaN, and columns that are not in the file.

    Args:
        footer: the end of a Parquet file, from the footer to the magic number, without Arrow's schema; see
            `without_arrow_schema`. Then columns have the types of Parquet, for which Arrow compares statistics.
        filter_text: the filter.
        sound: the columns whose statistics can be read.
    """
    fragment = ds.ParquetFileFormat().make_fragment(pa.py_buffer(b"PAR1" + footer))
    fields = [field for field in fragment.physical_schema if field.name in sound and _has_usable_statistics(field.type)]
    schema = pa.schema(fields)
    condition: pc.Expression | None = None
    for text in conditions_on(schema.names, filter_text):
        try:
            part = parse_filter(text, schema)[0]
        except FatalError:
            continue  # the types that Arrow stored may fit
        condition = part if condition is None else condition & part
    if condition is None:
        return [row_group.id for row_group in fragment.row_groups]
    return [row_group.id for row_group in fragment.subset(condition).row_groups]


def _has_usable_statistics(data_type: pa.DataType) -> bool:
    types = pa.types
    return (
        types.is_integer(data_type)
        or types.is_string(data_type)
        or types.is_boolean(data_type)
        or types.is_date(data_type)
        or types.is_decimal(data_type)
        # INT96, which is read in nanoseconds here, has no statistics
        or (types.is_timestamp(data_type) and data_type.unit != "ns")
    )
