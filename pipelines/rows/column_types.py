"""Which Arrow types of a column contain the same values, and conversion between them.

Parquet has fewer types than Arrow: it stores strings, large strings and dictionaries of strings in the same way.
Writers that use Arrow add its schema to the file, and readers then return Arrow's types; other writers do not.
"""

from __future__ import annotations

import pyarrow as pa


def without_views(data_type: pa.DataType) -> pa.DataType:
    """Replace views of strings, bytes and lists by their plain layout, because Arrow cannot select rows of views."""
    types = pa.types
    if types.is_string_view(data_type):
        return pa.large_string()
    if types.is_binary_view(data_type):
        return pa.large_binary()
    if types.is_list_view(data_type) or types.is_large_list_view(data_type):
        return pa.large_list(_field_without_views(data_type.value_field))
    if types.is_list(data_type):
        return pa.list_(_field_without_views(data_type.value_field))
    if types.is_large_list(data_type):
        return pa.large_list(_field_without_views(data_type.value_field))
    if types.is_fixed_size_list(data_type):
        return pa.list_(_field_without_views(data_type.value_field), data_type.list_size)
    if types.is_map(data_type):
        fields = (_field_without_views(data_type.key_field), _field_without_views(data_type.item_field))
        return pa.map_(*fields, keys_sorted=data_type.keys_sorted)
    if types.is_struct(data_type):
        return pa.struct([_field_without_views(field) for field in data_type])
    return data_type


def are_same_type(a: pa.DataType, b: pa.DataType) -> bool:
    """Return whether two types contain the same values in the same Parquet type, in whatever Arrow layout.

    Strings are one type as `string`, `large_string`, `string_view` or dictionary; so are lists, bytes, decimals of the
    same precision, timestamps of the same unit in any time zone, and an extension type and its storage.
    """
    return a.equals(b) or _plain(a).equals(_plain(b))


def cast_column(column: pa.ChunkedArray, data_type: pa.DataType) -> pa.ChunkedArray:
    """Convert a column to another type with the same values; see `are_same_type`.

    Raises:
        pa.ArrowException: values do not fit, such as a list of three numbers in a `fixed_size_list` of two.
    """
    if column.type.equals(data_type):
        return column.cast(data_type)  # nested fields may have other names
    plain = _plain(column.type)
    return (column if column.type.equals(plain) else column.cast(plain)).cast(data_type)


def cast_table(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Select the columns of a schema, and convert them to its types; see `cast_column`."""
    columns = [cast_column(table[field.name], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def has_list_views(data_type: pa.DataType) -> bool:
    """Return whether a column of this type contains list views, at any depth."""
    if pa.types.is_list_view(data_type) or pa.types.is_large_list_view(data_type):
        return True
    return any(has_list_views(data_type.field(i).type) for i in range(data_type.num_fields))


def _plain(data_type: pa.DataType) -> pa.DataType:
    """Reduce a type to what Parquet stores, in the layout with the largest capacity."""
    types = pa.types
    if isinstance(data_type, pa.BaseExtensionType):
        return _plain(data_type.storage_type)
    if types.is_dictionary(data_type):
        return _plain(data_type.value_type)
    if types.is_string(data_type) or types.is_string_view(data_type):
        return pa.large_string()
    if types.is_binary(data_type) or types.is_binary_view(data_type):
        return pa.large_binary()
    if types.is_timestamp(data_type) and data_type.tz is not None:
        return pa.timestamp(data_type.unit, "UTC")
    if types.is_decimal(data_type) and data_type.precision <= 38:
        return pa.decimal128(data_type.precision, data_type.scale)
    if types.is_map(data_type):
        return pa.map_(_plain(data_type.key_type), _plain(data_type.item_type))
    if types.is_struct(data_type):
        return pa.struct([pa.field(field.name, _plain(field.type)) for field in data_type])
    if is_list(data_type):
        return pa.large_list(_plain(data_type.value_type))
    return data_type


def is_list(data_type: pa.DataType) -> bool:
    """Return whether a column of this type contains lists, in any of Arrow's layouts."""
    types = pa.types
    return (
        types.is_list(data_type)
        or types.is_large_list(data_type)
        or types.is_fixed_size_list(data_type)
        or types.is_list_view(data_type)
        or types.is_large_list_view(data_type)
    )


def _field_without_views(field: pa.Field) -> pa.Field:
    return field.with_type(without_views(field.type))
