"""Read some rows of an input whose columns are not known yet."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa

from pipelines.corpus.files import describe_not_parquet, find_input_files
from pipelines.corpus.parquet import explain_unreadable, open_parquet, read_footer, unsupported_input
from pipelines.errors import FatalError
from pipelines.job import FixedLang, InputSettings
from pipelines.storage import locate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.corpus.files import InputFile
    from pipelines.storage import StoreSettings

ItemT = TypeVar("ItemT")

_SPREAD = 5  # files, and row groups of each, that are read


def read_some_rows(path: str, num_rows: int, stores: Sequence[StoreSettings] = ()) -> pa.Table:
    """Read rows that are spread over an input: the first ones of some row groups of some files.

    Args:
        path: as `input.path`: a file, directory, glob or table.
        num_rows: maximum number of rows.
        stores: settings of the stores that contain the input.

    Returns:
        The columns of the first file that Arrow can read. Partitions are columns, too.

    Raises:
        FatalError: there is no such file, or one of those read is damaged or not a Parquet file.
        RetryableError: a store does not respond.
    """
    files = find_input_files(InputSettings(path=path, text="text", lang=FixedLang(fixed="en")), stores).files
    spread = files.take(np.array(_spread(range(len(files)))))
    tables = [_read(file, num_rows // len(spread), stores, is_only_file=len(files) == 1) for file in spread]
    return pa.concat_tables(table for table in tables if table.schema.equals(tables[0].schema))


def _read(file: InputFile, num_rows: int, stores: Sequence[StoreSettings], *, is_only_file: bool) -> pa.Table:
    location = locate(file.info.url, stores)

    def read() -> pa.Table:
        with location.fs.open_input_file(location.path) as source, unsupported_input():
            if file.info.size < 12 or source.read_at(4, 0) not in (b"PAR1", b"PARE"):
                raise FatalError(describe_not_parquet(location.url, file.info.size, is_only_file=is_only_file))
            parquet = open_parquet(source)
            schema = parquet.schema_arrow
            unreadable = read_footer(source, schema.names).unreadable
            names = [name for name in schema.names if name not in unreadable and schema.names.count(name) == 1]
            groups = _spread(range(parquet.num_row_groups))
            batches = [
                batch
                for group in groups
                for batch in islice(parquet.iter_batches(max(1, num_rows // len(groups)), [group], names), 1)
            ]
            return pa.Table.from_batches(batches, pa.schema([schema.field(name) for name in names]))

    try:
        table = location.with_retries(read)
    except (OSError, pa.ArrowException) as error:
        raise FatalError(f"{file.info.url}: {explain_unreadable(error)}") from None
    for name, value in file.group.constants.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat(value, len(table)))
    return table


def _spread(items: Sequence[ItemT]) -> list[ItemT]:
    number = min(len(items), _SPREAD)
    return [items[i * len(items) // number] for i in range(number)]
