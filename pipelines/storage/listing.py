"""Find the files that a path, a directory, a glob or a list of them matches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pipelines.errors import FatalError
from pipelines.formatting import format_count, one_line
from pipelines.storage.file_table import FILES, file_infos, file_table
from pipelines.storage.patterns import Pattern, read_pattern
from pipelines.storage.retries import describe_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipelines.storage.file_table import FileInfo
    from pipelines.storage.location import Location
    from pipelines.storage.store_settings import StoreSettings

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

_MATCHES, _IS_HIDDEN, _IS_OTHER = range(3)


@dataclass(frozen=True)
class Listing:
    """The files that a path, a directory or a glob matches, as tables with the columns `FILES`.

    Attributes:
        pattern: the path, directory or glob.
        files: the files that match, ordered by URL.
        hidden: files that match, but are skipped because a name in their path is hidden.
        others: the other files below the base of the pattern.
    """

    pattern: Pattern
    files: pa.Table
    hidden: pa.Table
    others: pa.Table

    @property
    def base(self) -> Location:
        """The file or directory; for a glob, the directory in which its wildcards begin."""
        return self.pattern.base

    @property
    def is_glob(self) -> bool:
        """Whether the pattern is a glob."""
        return bool(self.pattern.glob)

    def path_of(self, url: str) -> str:
        """Return the path of a file within its file system."""
        return f"{self.base.path.rstrip('/')}/{self.pattern.path_below_base(url)}"

    def check_not_empty(self, setting: str) -> None:
        """Raise FatalError, which names the setting with the pattern, if there are no files."""
        if len(self.files):
            return
        problem = "no file matches" if self.is_glob else "no such file or directory"
        if len(self.hidden):
            problem = f"no data files ({describe_hidden(self.hidden['url'])})"
        elif not self.is_glob and self.base.exists():
            problem = "the directory contains no data files"
        raise FatalError(f"{self.pattern.text}: {problem}; correct {setting}")


def describe_hidden(urls: pa.ChunkedArray) -> str:
    """Describe hidden files by their number and the first of them."""
    return f"{format_count(len(urls), 'hidden file')}, such as {one_line(pc.min(urls).as_py())}"


def find_files(patterns: str | Sequence[str], stores: Sequence[StoreSettings], setting: str) -> list[FileInfo]:
    """Find the files that a path, a directory, a glob or a list of them matches. Hidden files are skipped.

    Args:
        patterns: paths, directories or globs.
        stores: settings of their stores.
        setting: the name of the setting with these patterns, for error messages.

    Returns:
        Each file once, ordered by URL.

    Raises:
        FatalError: a pattern matches no file, or cannot be listed.
        RetryableError: a store does not respond.
    """
    found: dict[str, FileInfo] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        listing = list_files(pattern, stores, setting)
        listing.check_not_empty(setting)
        found |= {file.url: file for file in file_infos(listing.files)}
    return [found[url] for url in sorted(found)]


def list_files(pattern: str, stores: Sequence[StoreSettings], setting: str) -> Listing:
    """List the files that a path, a directory or a glob matches.

    See `Pattern` for which files are hidden.

    Args:
        pattern: the path, directory or glob.
        stores: settings of its store.
        setting: the name of the setting with the pattern, for error messages.

    Raises:
        FatalError: the pattern cannot be listed.
        RetryableError: the store does not respond.
    """
    try:
        return _list(read_pattern(pattern, stores))
    except UnicodeEncodeError as error:
        raise FatalError(f"{one_line(str(error.object))}: the name is not UTF-8; rename the file") from None
    except (OSError, ValueError) as error:
        raise FatalError(f"{pattern}: cannot be listed ({describe_error(error)}); correct {setting}") from None


def _list(pattern: Pattern) -> Listing:
    if not pattern.glob and pattern.base.is_file():
        none = FILES.empty_table()
        return Listing(pattern, file_table([pattern.base.file_info()]), none, none)
    kinds = bytearray()

    def classify() -> Iterator[FileInfo]:
        for file in pattern.base.walk():
            path = pattern.path_below_base(file.url)
            kinds.append(_IS_OTHER if not pattern.matches(path) else _IS_HIDDEN if pattern.hides(path) else _MATCHES)
            yield file

    files = file_table(classify())
    kind_of = np.frombuffer(kinds, np.uint8) if kinds else np.empty(0, np.uint8)
    return Listing(pattern, *(files.filter(pa.array(kind_of == kind)) for kind in (_MATCHES, _IS_HIDDEN, _IS_OTHER)))
