"""A version of a table: its files, and its columns as the table declares them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pipelines.storage import FileInfo

_FIELD_ID = b"PARQUET:field_id"


@dataclass(frozen=True)
class TableSnapshot:
    """A version of a table.

    Attributes:
        name: the format and URL of the table.
        version: the version of a Delta table, or the id of an Iceberg snapshot.
        files: URLs of its data files, each with its partition values, by column, by which a filter may exclude it.
        schema: its columns. For Iceberg, whose files may have columns under former names, they have field ids.
    """

    name: str
    version: int
    files: Mapping[str, Mapping[str, pa.Scalar]]
    schema: pa.Schema

    def constants(self, partitions: Mapping[str, pa.Scalar]) -> dict[str, pa.Scalar]:
        """Return the values of columns that files need not contain: partitions and, as null, columns added later."""
        return {field.name: pa.scalar(None, field.type) for field in self.schema} | dict(partitions)


def check_columns(file: FileInfo, schema: pa.Schema, table: pa.Schema, columns: Collection[str]) -> Iterator[str]:
    """Yield which columns of a file are not those that a table has under the same names.

    Args:
        file: the file.
        schema: its columns. Without field ids, they are identified by name.
        table: the columns of the table, with field ids if its columns are identified by them.
        columns: the columns that will be read.
    """
    in_file = {path: number for field in schema for path, number in _field_ids(field)}
    former = {number: path for path, number in in_file.items()}
    for name in columns:
        if name not in table.names or not in_file:
            continue
        in_table = dict(_field_ids(table.field(name)))
        has_column = name in in_file
        if any(former.get(number, path) != path for path, number in in_table.items()) or (
            has_column and in_table and in_table != dict(_field_ids(schema.field(name)))
        ):
            yield (
                f"{file.url}: column {name} was renamed, replaced or changed after this file was written; rewrite the "
                "table's files, for example with Spark's rewrite_data_files and the option rewrite-all"
            )


def has_field_ids(table: pa.Schema) -> bool:
    """Return whether a table identifies its columns by field ids, as Iceberg does, and not by name."""
    return any(_FIELD_ID in (field.metadata or {}) for field in table)


def _field_ids(field: pa.Field, parent: str = "") -> Iterator[tuple[str, bytes]]:
    """Yield the path and the field id of a column and of all fields in it."""
    path = f"{parent}{field.name}"
    if _FIELD_ID in (field.metadata or {}):
        yield path, field.metadata[_FIELD_ID]
    for i in range(field.type.num_fields):
        child = field.type.field(i)
        # the names of the fields of lists and maps differ between writers
        name = child.name if pa.types.is_struct(field.type) else str(i)
        yield from _field_ids(child.with_name(name), f"{path}/")
