"""Find the files of a job's input, with the columns whose values their paths contain."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pipelines.corpus.partitions import Partitions, matching_partitions
from pipelines.errors import FatalError
from pipelines.formatting import format_count
from pipelines.storage import FileInfo, Listing, describe_hidden, list_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from pipelines.job import InputSettings
    from pipelines.storage import StoreSettings

_SETTING = "input.path"


class InputFile(NamedTuple):
    """A file of the input.

    Attributes:
        info: its URL and identity.
        constants: columns with one value for all rows of the file, which the file itself need not contain.
        partitions: those of these columns that are partitions below the given path. If the file contains such a
            column, its values must agree. Partitions in the given path itself are only defaults.
    """

    info: FileInfo
    constants: Mapping[str, pa.Scalar]
    partitions: frozenset[str] = frozenset()


@dataclass
class InputFiles:
    """The files of a job's input.

    Attributes:
        files: each file once, ordered by URL.
        notes: messages for the user about what is read and what is not.
    """

    files: list[InputFile] = field(default_factory=list[InputFile])
    notes: list[str] = field(default_factory=list[str])


def find_input_files(spec: InputSettings, stores: Sequence[StoreSettings]) -> InputFiles:
    """Find the files of a job's input. Files whose partition the filter excludes are left out.

    Hive partitions are columns: directories such as `lang=de`, in the given path and below it. See `Partitions` for
    their types.

    Args:
        spec: the input settings.
        stores: settings of the stores that contain the corpus.

    Raises:
        FatalError: a path matches no file, or cannot be listed; or the filter excludes all files.
        RetryableError: a store does not respond.
    """
    patterns = [spec.path] if isinstance(spec.path, str) else spec.path
    listings = [list_files(pattern, stores, _SETTING) for pattern in patterns]
    for listing in listings:
        listing.check_not_empty(_SETTING)
    found = InputFiles()
    _add_files(found, listings)
    if spec.filter is not None:
        _prune(found, spec.filter)
    return found


def _add_files(found: InputFiles, listings: list[Listing]) -> None:
    # If several patterns match a file, the shortest base decides which of its directories are below the given path.
    listings = sorted(listings, key=lambda listing: len(listing.base.url), reverse=True)
    files = {file.url: (file, listing) for listing in listings for file in listing.files}
    partitions = Partitions({_directory(url) for url in files})
    for url in sorted(files):
        file, listing = files[url]
        below = partitions.values(_directory(listing.path_below_base(file)))
        found.files.append(InputFile(file, partitions.values(_directory(url)), frozenset(below)))
    hidden = {file.url: file for listing in listings for file in listing.hidden if file.url not in files}
    if hidden:
        found.notes.append(f"not read: {describe_hidden([hidden[url] for url in sorted(hidden)])}")


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
