"""Find the files of a job's input, with the columns whose values their paths contain."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pipelines.corpus.files.partitions import Partitions, matching_partitions
from pipelines.corpus.files.tables import TableSnapshot, find_table, read_table
from pipelines.errors import FatalError
from pipelines.formatting import format_count
from pipelines.storage import FileInfo, Listing, describe_hidden, list_files, locate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from pipelines.job import InputSettings
    from pipelines.storage import StoreSettings

_SETTING = "input.path"
_THREADS = 16  # finding a file is a small request


class InputFile(NamedTuple):
    """A file of the input.

    Attributes:
        info: its URL and identity.
        constants: columns with one value for all rows of the file, which the file itself need not contain.
        partitions: those of these columns that are partitions of a table or below the given path. If the file contains
            such a column, its values must agree. Partitions in the given path itself are only defaults.
        table: the columns of the table that the file belongs to; None if it belongs to none.
    """

    info: FileInfo
    constants: Mapping[str, pa.Scalar]
    partitions: frozenset[str] = frozenset()
    table: pa.Schema | None = None


@dataclass
class InputFiles:
    """The files of a job's input.

    Attributes:
        files: each file once, ordered by URL.
        partition_types: the columns whose values are in the names of directories. Their types follow from all names.
        tables: the version of each table that is read, by name.
        notes: messages for the user about what is read and what is not.
    """

    files: list[InputFile]
    partition_types: pa.Schema
    tables: dict[str, int]
    notes: list[str]


def find_input_files(spec: InputSettings, stores: Sequence[StoreSettings]) -> InputFiles:
    """Find the files of a job's input. Files whose partition the filter excludes are left out.

    Of a Delta or Iceberg table, these are the files of its current version, or of the version that the job names.
    Elsewhere, Hive partitions are columns: directories such as `lang=de`, in the given path and below it. See
    `Partitions` for their types.

    Args:
        spec: the input settings.
        stores: settings of the stores that contain the corpus.

    Raises:
        FatalError: a path matches no file, or cannot be listed; a table cannot be read; or the filter excludes all
            files.
        RetryableError: a store does not respond.
    """
    patterns = [spec.path] if isinstance(spec.path, str) else spec.path
    listings = [list_files(pattern, stores, _SETTING) for pattern in patterns]
    roots = [(listing, find_table(listing)) for listing in listings]
    tables = [(listing, root) for listing, root in roots if root is not None]
    folders = [listing for listing, root in roots if root is None]
    if spec.version is not None and (len(tables) != 1 or folders):
        raise FatalError(f"input.version: {spec.version} needs one Delta or Iceberg table in input.path; remove it")
    for listing in folders:
        listing.check_not_empty(_SETTING)
    found = _find_in_folders(folders)
    for listing, table in tables:
        snapshot = read_table(table, listing, stores, spec.version)
        found.tables[snapshot.name] = snapshot.version
        found.files += _find_in_table(snapshot, listing, stores)
    found.files = sorted({file.info.url: file for file in found.files}.values(), key=lambda file: file.info.url)
    found.notes += [f"{name}: version {version}" for name, version in found.tables.items()]
    if not found.files:
        raise FatalError(f"{', '.join(found.tables)}: the table has no rows; correct input.path")
    if spec.filter is not None:
        _prune(found, spec.filter)
    return found


def _find_in_table(snapshot: TableSnapshot, listing: Listing, stores: Sequence[StoreSettings]) -> Iterator[InputFile]:
    """Find the files of a table, most of which are in its directory."""
    listed = {listing.path_of(file): file for file in (*listing.files, *listing.hidden)}

    def find(url: str) -> FileInfo:
        location = locate(url, stores)
        try:
            return listed.get(location.path) or location.file_info()
        except FileNotFoundError:
            raise FatalError(
                f"{snapshot.name}: version {snapshot.version} has the file {url}, which does not exist; read a version "
                "whose files exist, or restore the file"
            ) from None

    with ThreadPoolExecutor(_THREADS) as pool:
        for url, info in zip(snapshot.files, pool.map(find, snapshot.files), strict=True):
            yield InputFile(info, snapshot.constants(url), frozenset(snapshot.files[url]), snapshot.schema)


def _find_in_folders(listings: list[Listing]) -> InputFiles:
    # If several patterns match a file, the shortest base decides which of its directories are below the given path.
    listings = sorted(listings, key=lambda listing: len(listing.base.url), reverse=True)
    files = {file.url: (file, listing) for listing in listings for file in listing.files}
    partitions = Partitions({_directory(url) for url in files})
    found = InputFiles([], partitions.schema, {}, [])
    for file, listing in files.values():
        directory, path = _directory(file.url), _directory(listing.path_below_base(file))
        below = partitions.values(path)
        if len(below) < sum("=" in name for name in path.split("/")):
            raise FatalError(f"{directory}: several directories of input.path are the same column; rename one of them")
        in_given_path = partitions.values(directory.removesuffix(path))
        found.files.append(InputFile(file, {**in_given_path, **below}, frozenset(below)))
    hidden = {file.url: file for listing in listings for file in listing.hidden if file.url not in files}
    if hidden:
        found.notes.append(f"not read: {describe_hidden([hidden[url] for url in sorted(hidden)])}")
    return found


def _directory(path: str) -> str:
    return path.partition("://")[2].rpartition("/")[0] if "://" in path else path.rpartition("/")[0]


def _prune(found: InputFiles, filter_text: str) -> None:
    """Leave out the files whose partition the filter excludes, so that not even their footers are read."""
    partitions = [{name: file.constants[name] for name in file.partitions} for file in found.files]
    kept = matching_partitions(partitions, filter_text)
    if kept == list(range(len(found.files))):
        return
    if not kept:
        names = sorted({name for values in partitions for name in values})
        raise FatalError(
            f"input.filter: matches no partition of input.path, whose files are partitioned by {', '.join(names)}; "
            "correct the filter"
        )
    num_pruned = len(found.files) - len(kept)
    found.notes.append(f"not read: {format_count(num_pruned, 'file')} whose partition does not match input.filter")
    found.files = [found.files[i] for i in kept]
