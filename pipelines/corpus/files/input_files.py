"""Find the files of a job's input, with the columns whose values their paths contain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pipelines.corpus.files.grouped_files import FileGroup, GroupedFiles
from pipelines.corpus.files.partitions import Partitions, matching_partitions
from pipelines.corpus.files.tables import TableSnapshot, find_table, read_table
from pipelines.errors import FatalError
from pipelines.formatting import format_count
from pipelines.storage import FILES, FileInfo, Listing, describe_hidden, file_infos, file_table, list_files, locate
from pipelines.thread_map import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pipelines.job import InputSettings
    from pipelines.storage import StoreSettings

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

_SETTING = "input.path"
_THREADS = 16  # finding a file is a small request


@dataclass
class InputFiles:
    """The files of a job's input.

    Attributes:
        files: each file once, ordered by URL.
        partition_types: the columns whose values are in the names of directories. Their types follow from all names.
        tables: the version of each table that is read, by name.
        notes: messages for the user about what is read and what is not.
    """

    files: GroupedFiles
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
    parts, partition_types, notes = _find_in_folders(folders)
    versions = dict[str, int]()
    for listing, table in tables:
        snapshot = read_table(table, listing, stores, spec.version)
        versions[snapshot.name] = snapshot.version
        parts.append(_find_in_table(snapshot, listing, stores))
    found = InputFiles(GroupedFiles.join(parts), partition_types, versions, notes)
    found.notes += [f"{name}: version {version}" for name, version in found.tables.items()]
    if not len(found.files):
        raise FatalError(f"{', '.join(found.tables)}: the table has no rows; correct input.path")
    if spec.filter is not None:
        _prune(found, spec.filter)
    return found


def _find_in_table(snapshot: TableSnapshot, listing: Listing, stores: Sequence[StoreSettings]) -> GroupedFiles:
    """Find the files of a table, most of which are in its directory."""
    listed = {
        listing.path_of(file.url): file for files in (listing.files, listing.hidden) for file in file_infos(files)
    }

    def find(url: str) -> FileInfo:
        location = locate(url, stores)
        try:
            return listed.get(location.path) or location.file_info()
        except FileNotFoundError:
            raise FatalError(
                f"{snapshot.name}: version {snapshot.version} has the file {url}, which does not exist; read a version "
                "whose files exist, or restore the file"
            ) from None

    files = file_table(map_in_threads(find, snapshot.files, _THREADS))
    numbers = dict[tuple[tuple[str, pa.Scalar], ...], int]()  # of groups, by their partitions
    group_of = [numbers.setdefault((*values.items(),), len(numbers)) for values in snapshot.files.values()]
    groups = [
        FileGroup(snapshot.constants(dict(values)), frozenset(dict(values)), snapshot.schema) for values in numbers
    ]
    return GroupedFiles(files, np.array(group_of, np.int64), groups)


def _find_in_folders(listings: list[Listing]) -> tuple[list[GroupedFiles], pa.Schema, list[str]]:
    """Find the files of each listing, the types of their partitions, and notes."""
    # If several patterns match a file, the shortest base decides which of its directories are below the given path.
    listings = sorted(listings, key=lambda listing: len(listing.base.url), reverse=True)
    directories = [_number_directories(listing.files["url"]) for listing in listings]
    partitions = Partitions({_directory(url) for _, urls in directories for url in urls})
    parts = [
        GroupedFiles(listing.files, group_of, [_group(url, listing, partitions) for url in urls])
        for listing, (group_of, urls) in zip(listings, directories, strict=True)
    ]
    hidden = pa.concat_tables([FILES.empty_table(), *(listing.hidden for listing in listings)])["url"].unique()
    for listing in listings:
        hidden = hidden.filter(pc.invert(pc.is_in(hidden, value_set=listing.files["url"])))
    return parts, partitions.schema, [f"not read: {describe_hidden(hidden)}"] if len(hidden) else []


def _number_directories(urls: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    """Return for each file the number of its directory, and the URL of one file of each directory."""
    directories = pc.replace_substring_regex(urls, "/[^/]*$", "").combine_chunks().dictionary_encode()
    numbers = directories.indices.to_numpy()
    return numbers.astype(np.int64), urls.take(pa.array(np.unique(numbers, return_index=True)[1])).to_pylist()


def _group(url: str, listing: Listing, partitions: Partitions) -> FileGroup:
    """Return the group of the files in the same directory as a file."""
    directory, path = _directory(url), _directory(listing.pattern.path_below_base(url))
    below = partitions.values(path)
    if len(below) < sum("=" in name for name in path.split("/")):
        raise FatalError(f"{directory}: several directories of input.path are the same column; rename one of them")
    in_given_path = partitions.values(directory.removesuffix(path))
    return FileGroup({**in_given_path, **below}, frozenset(below))


def _directory(path: str) -> str:
    return path.partition("://")[2].rpartition("/")[0] if "://" in path else path.rpartition("/")[0]


def _prune(found: InputFiles, filter_text: str) -> None:
    """Leave out the files whose partition the filter excludes, so that not even their footers are read."""
    partitions = [{name: group.constants[name] for name in group.partitions} for group in found.files.groups]
    kept = matching_partitions(partitions, filter_text)
    if len(kept) == len(partitions):
        return
    if not kept:
        names = sorted({name for values in partitions for name in values})
        raise FatalError(
            f"input.filter: matches no partition of input.path, whose files are partitioned by {', '.join(names)}; "
            "correct the filter"
        )
    is_kept = np.isin(found.files.group_of, kept)
    num_pruned = len(found.files) - int(is_kept.sum())
    found.notes.append(f"not read: {format_count(num_pruned, 'file')} whose partition does not match input.filter")
    found.files = found.files.select(np.flatnonzero(is_kept))
