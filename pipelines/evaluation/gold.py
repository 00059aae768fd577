"""Gold labels: columns of Parquet files at any URL, by the ids of their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from pipelines.errors import FatalError
from pipelines.filter import matching_rows, parse_filter
from pipelines.formatting import closest_name, excerpt, format_count
from pipelines.result_rows import join_ids, to_array
from pipelines.rows import is_id
from pipelines.storage import describe_error, find_files, locate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pipelines.storage import Location, StoreSettings

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

ReadT = TypeVar("ReadT")

_MAX_LISTED = 20  # columns in a message


class GoldRows(NamedTuple):
    """Gold labels in memory.

    Attributes:
        ids: [N], what identifies each row, as `NumberedRows.ids` returns it; no two are equal.
        table: [N] rows with other columns.
    """

    ids: pa.Array
    table: pa.Table


class Gold:
    """Parquet files with gold labels.

    Args:
        url: a file, directory or glob.
        id_columns: the columns that together identify a row.
        where: a condition as `input.filter`; other rows are left out.
        stores: settings of their stores.

    Raises:
        FatalError: there are no such files or columns, or the condition is not valid.
    """

    def __init__(
        self,
        url: str,
        id_columns: Sequence[str],
        where: str | None = None,
        stores: Sequence[StoreSettings] = (),
    ):
        self.url, self.id_columns, self._where = url, list(id_columns), where
        self._files = [locate(file.url, stores) for file in find_files(url, stores, "--gold")]
        self.schema = _read(self._files[0], pq.read_schema)
        for name in self.id_columns:
            if not is_id(self.field(name, "--id").type):
                raise FatalError(
                    f"{url}: {name} is {self.schema.field(name).type}, which cannot identify rows; name a column of "
                    "strings or integers with --id"
                )
        self._filter_columns = sorted(parse_filter(where, self.schema)[1]) if where else []

    def field(self, name: str, option: str) -> pa.Field:
        """Return a column of the schema.

        Args:
            name: its name.
            option: the option that names it.

        Raises:
            FatalError: there is no such column.
        """
        if name in self.schema.names:
            return self.schema.field(name)
        closest = closest_name(name, self.schema.names)
        hint = f"did you mean {closest}?" if closest else f"it has {self.list_columns()}"
        raise FatalError(f"{self.url}: no column {name}; name another one with {option}; {hint}")

    def list_columns(self) -> str:
        """List its columns for a message."""
        names = [excerpt(name) for name in self.schema.names]
        return ", ".join([*names[:_MAX_LISTED], *(["…"] if len(names) > _MAX_LISTED else [])])

    def read(self, columns: Iterable[str]) -> GoldRows:
        """Read ids and other columns of all rows.

        Raises:
            FatalError: a file is damaged or does not have a column, or ids are null or repeated.
        """
        others = list(dict.fromkeys(columns))
        names = list(dict.fromkeys([*self.id_columns, *self._filter_columns, *others]))
        schema = pa.schema([self.schema.field(name) for name in names])
        tables = [self._read_file(file, schema) for file in self._files]
        table = pa.concat_tables(tables)
        ids = join_ids(table, self.id_columns)
        self._check_ids(ids)
        for name in others:
            try:
                table[name].validate(full=True)
            except pa.ArrowInvalid:
                raise FatalError(f"{self.url}: {name} contains text that is not UTF-8; correct it") from None
        return GoldRows(ids, table.select(others))

    def _read_file(self, file: Location, schema: pa.Schema) -> pa.Table:
        try:
            table = _read(file, lambda source: pq.read_table(source, columns=schema.names)).select(schema.names)
            table = table.cast(schema)
        except (KeyError, ValueError, pa.ArrowException):
            raise FatalError(
                f"{file.url}: does not have the columns {', '.join(schema.names)} with the types of "
                f"{self._files[0].url}; name files of one schema with --gold"
            ) from None
        return table if self._where is None else table.filter(matching_rows(self._where, table))

    def _check_ids(self, ids: pa.Array) -> None:
        names = " and ".join(self.id_columns)
        if not len(ids):
            raise FatalError(f"{self.url}: has no rows{' that match --filter' if self._where else ''}; correct --gold")
        if ids.null_count:
            raise FatalError(f"{self.url}: {names} is null in {format_count(ids.null_count, 'row')}; correct it")
        counts = pc.value_counts(ids)
        repeated = counts.filter(pc.greater(counts.field("counts"), 1))
        if len(repeated):
            example = repeated.field("values")[0].as_py()
            raise FatalError(
                f"{self.url}: {names} is not unique: {format_count(len(repeated), 'repeated id')}, such as "
                f"{excerpt(example)}; a row must have one label: remove the others, or select rows with --filter"
            )


def _read(file: Location, read: Callable[[pa.NativeFile], ReadT]) -> ReadT:
    def attempt() -> ReadT:
        with file.fs.open_input_file(file.path) as source:
            return read(source)

    try:
        return file.with_retries(attempt)
    except pa.ArrowInvalid as error:
        raise FatalError(f"{file.url}: not a Parquet file ({describe_error(error)}); correct --gold") from None


def to_column(table: pa.Table, name: str) -> pa.Array:
    """Return a column of a table as one array of plain values."""
    column = to_array(table[name])
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
