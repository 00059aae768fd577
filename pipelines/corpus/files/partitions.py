"""Hive partitions: columns whose values are in the names of directories, such as `lang=de/part-0.parquet`."""

from __future__ import annotations

import io
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from pipelines.errors import FatalError
from pipelines.filter import conditions_on, matching_rows
from pipelines.storage import describe_error

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from pipelines.corpus.parquet import Footer
    from pipelines.storage import FileInfo


class Partitions:
    """The partitions in the paths of files, with the names, types and values that Arrow's dataset discovery finds.

    A column is int32 if all its values are, and string otherwise. Names and values are decoded (`%20`), and
    `__HIVE_DEFAULT_PARTITION__` is null.

    Args:
        directories: the directories of all files. Their parts determine the types.

    Raises:
        FatalError: a name is not UTF-8 after decoding.
    """

    def __init__(self, directories: Collection[str]):
        self._values: dict[str, Mapping[str, pa.Scalar]] = {}
        try:
            self.schema = _infer_types(directories) if any("=" in path for path in directories) else pa.schema([])
        except pa.ArrowInvalid as error:
            raise FatalError(f"input.path: {describe_error(error)}; rename the directory") from None
        self._partitioning = ds.partitioning(self.schema, flavor="hive")

    def values(self, directory: str) -> Mapping[str, pa.Scalar]:
        """Return the values in a directory's path, by column."""
        if directory not in self._values:
            found: dict[str, Any] = ds.get_partition_keys(self._partitioning.parse(f"{directory}/"))
            self._values[directory] = {name: pa.scalar(v, self.schema.field(name).type) for name, v in found.items()}
        return self._values[directory]


class _EmptyFiles(fsspec.AbstractFileSystem):
    """A file system of Parquet files without columns. Arrow infers types only while it discovers files."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        file = io.BytesIO()
        pq.write_table(pa.table({}), file)
        self._content = file.getvalue()

    def _open(self, *_: Any, **__: Any) -> Any:
        return io.BytesIO(self._content)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return {"name": path, "size": len(self._content), "type": "file"}


def _infer_types(directories: Collection[str]) -> pa.Schema:
    options = ds.FileSystemFactoryOptions(exclude_invalid_files=False)
    options.partitioning_factory = ds.HivePartitioning.discover()
    files = pafs.PyFileSystem(pafs.FSSpecHandler(_EmptyFiles()))
    paths = [f"{directory.strip('/')}/file" for directory in directories]
    while True:
        try:
            return ds.FileSystemDatasetFactory(files, paths, ds.ParquetFileFormat(), options).inspect()
        except pa.ArrowInvalid as error:
            # A column whose values are all null has no type. With a text among them, it is a string.
            all_null = re.search("No non-null segments were available for field '(.*)'; couldn't infer", str(error))
            if all_null is None or f"{all_null[1]}=text/file" in paths:
                raise
            paths.append(f"{all_null[1]}=text/file")


def matching_partitions(partitions: Sequence[Mapping[str, pa.Scalar]], filter_text: str) -> list[int]:
    """Find the files that a filter may match, judging by their partitions alone.

    The filter is divided at its outermost `and`s. Conditions on other columns do not exclude any file.

    Args:
        partitions: for each file, the values of its partitions, by column.
        filter_text: the filter.

    Returns:
        The numbers of these files.
    """
    # a file without one of the partitions may contain a column of that name
    names = sorted(set[str].intersection(*(set(values) for values in partitions)))
    columns = {name: pa.array([values[name] for values in partitions], partitions[0][name].type) for name in names}
    table, matches = pa.table(columns), np.ones(len(partitions), np.bool_)
    for condition in conditions_on(names, filter_text):
        with suppress(FatalError):  # the types do not fit; checking the filter on the schema of the files reports it
            matches &= matching_rows(condition, table).to_numpy(zero_copy_only=False)
    return np.flatnonzero(matches).tolist()


def check_partitions(file: FileInfo, footer: Footer, partitions: Mapping[str, pa.Scalar]) -> Iterator[str]:
    """Yield what is wrong with columns that are partitions and also in the file.

    Such columns are read from the file, so the path must give all its rows the same value. The statistics of the file
    tell whether it does.

    Args:
        file: the file.
        footer: its footer.
        partitions: the values of its partitions, by column.
    """
    paths = [footer.metadata.schema.column(i).path for i in range(len(footer.metadata.schema))]
    row_groups = [footer.metadata.row_group(i) for i in range(footer.metadata.num_row_groups)]
    for name in partitions.keys() & set(footer.schema.names) - footer.unreadable.keys():
        column = paths.index(name) if name in footer.sound else None
        if column is None or not all(_has_only(row_group, column, partitions[name]) for row_group in row_groups):
            yield (
                f"{file.url}: column {name} is in the file and also a directory of its path, and the file's statistics "
                f"do not show that both have the same value; rename the column or the directory, or remove the column"
            )


def _has_only(row_group: pq.RowGroupMetaData, column: int, value: pa.Scalar) -> bool:
    """Return whether the statistics of a row group tell that a column has only this value."""
    if not row_group.num_rows:
        return True
    statistics = row_group.column(column).statistics
    if statistics is None or not statistics.has_null_count:
        return False
    if not value.is_valid:
        return statistics.null_count == row_group.num_rows
    if statistics.null_count or not statistics.has_min_max:
        return False
    try:
        low = pa.scalar(statistics.min)
        return statistics.min == statistics.max and value.cast(pa.string()).cast(low.type) == low
    except (pa.ArrowException, OverflowError, ValueError):  # Python cannot represent all dates
        return False
