"""Find the files that a path, a directory, a glob or a list of them matches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines.errors import FatalError
from pipelines.formatting import format_count, one_line
from pipelines.storage.location import FileInfo
from pipelines.storage.patterns import Pattern, read_pattern
from pipelines.storage.retries import describe_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.storage.location import Location
    from pipelines.storage.store_settings import StoreSettings


@dataclass(frozen=True)
class Listing:
    """The files that a path, a directory or a glob matches.

    Attributes:
        pattern: the path, directory or glob.
        files: the files that match, ordered by URL.
        hidden: files that match, but are skipped because a name in their path is hidden.
        others: the other files below the base of the pattern.
    """

    pattern: Pattern
    files: list[FileInfo] = field(default_factory=list[FileInfo])
    hidden: list[FileInfo] = field(default_factory=list[FileInfo])
    others: list[FileInfo] = field(default_factory=list[FileInfo])

    @property
    def base(self) -> Location:
        """The file or directory; for a glob, the directory in which its wildcards begin."""
        return self.pattern.base

    @property
    def is_glob(self) -> bool:
        """Whether the pattern is a glob."""
        return bool(self.pattern.glob)

    def path_below_base(self, file: FileInfo) -> str:
        """Return the path of a file below the base; empty for the base itself."""
        return file.url[len(self.base.url) :].strip("/")

    def path_of(self, file: FileInfo) -> str:
        """Return the path of a file within its file system."""
        return f"{self.base.path.rstrip('/')}/{self.path_below_base(file)}"

    def check_not_empty(self, setting: str) -> None:
        """Raise FatalError, which names the setting with the pattern, if there are no files."""
        if self.files:
            return
        problem = "no file matches" if self.is_glob else "no such file or directory"
        if self.hidden:
            problem = f"no data files ({describe_hidden(self.hidden)})"
        elif not self.is_glob and self.base.exists():
            problem = "the directory contains no data files"
        raise FatalError(f"{self.pattern.text}: {problem}; correct {setting}")


def describe_hidden(hidden: Sequence[FileInfo]) -> str:
    """Describe hidden files by their number and an example."""
    return f"{format_count(len(hidden), 'hidden file')}, such as {one_line(hidden[0].url)}"


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
        found |= {file.url: file for file in listing.files}
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
        return _list(pattern, stores)
    except UnicodeEncodeError as error:
        raise FatalError(f"{one_line(str(error.object))}: the name is not UTF-8; rename the file") from None
    except (OSError, ValueError) as error:
        raise FatalError(f"{pattern}: cannot be listed ({describe_error(error)}); correct {setting}") from None


def _list(text: str, stores: Sequence[StoreSettings]) -> Listing:
    listing = Listing(read_pattern(text, stores))
    base = listing.base
    if not listing.is_glob and base.is_file():
        listing.files.append(base.file_info())
        return listing
    for file in base.list(recursive=True):
        path = listing.path_below_base(file)
        if not listing.pattern.matches(path):
            listing.others.append(file)
        elif listing.pattern.hides(path):
            listing.hidden.append(file)
        else:
            listing.files.append(file)
    return listing
