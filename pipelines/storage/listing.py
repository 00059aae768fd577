"""Find the files that a path, a directory, a glob or a list of them matches."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fsspec.utils import glob_translate

from pipelines.errors import FatalError
from pipelines.formatting import format_count, one_line
from pipelines.storage.location import FileInfo, Location, locate
from pipelines.storage.retries import describe_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.storage.store_settings import StoreSettings

_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Listing:
    """The files that a path, a directory or a glob matches.

    Attributes:
        pattern: the path, directory or glob.
        base: the file or directory; for a glob, the directory in which its wildcards begin.
        files: the files that match, ordered by URL.
        hidden: files that match, but are skipped because a name in their path is hidden.
        others: the other files below the base.
        is_glob: whether the pattern is a glob.
    """

    pattern: str
    base: Location
    files: list[FileInfo]
    hidden: list[FileInfo] = field(default_factory=list[FileInfo])
    others: list[FileInfo] = field(default_factory=list[FileInfo])
    is_glob: bool = False

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
        raise FatalError(f"{self.pattern}: {problem}; correct {setting}")


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

    A directory matches all files below it. A glob matches files or, if it ends with `/`, directories with all files
    below them. `**` in a glob matches any number of directories.

    Names are hidden by the rule of Spark: names that begin with `.`, names that begin with `_` and contain no `=`, and
    names that end with `._COPYING_`, which HDFS gives to a file while it is copied. So `_year=2020`, a partition, is
    not hidden. A file is hidden if its own name is, or that of a directory in which it was found. Names that the path
    or the glob spells out, as in `_staging/*.parquet`, are not hidden.

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


def _list(pattern: str, stores: Sequence[StoreSettings]) -> Listing:
    location = locate(pattern, stores)
    if location.is_file():
        return Listing(pattern, location, [location.file_info()])
    # A name may contain wildcard characters. So if the path exists, it is not a glob, and the same is true for the
    # directories at the beginning of a glob.
    if not _WILDCARD.search(pattern) or location.exists():
        return _divide(Listing(pattern, location, location.list(recursive=True)), [])
    parts = location.url.rstrip("/").split("/")
    num_literal = 0
    while not _WILDCARD.search(parts[num_literal]) or locate("/".join(parts[: num_literal + 1]), stores).exists():
        num_literal += 1
    base = locate("/".join(parts[:num_literal]) + "/", stores)
    return _divide(
        Listing(pattern, base, base.list(recursive=True)), parts[num_literal:], is_directory=pattern.endswith("/")
    )


def _divide(listing: Listing, glob: list[str], *, is_directory: bool = True) -> Listing:
    """Divide the files below a base into those that match, those that are hidden, and the others.

    Args:
        listing: all files below the base.
        glob: the parts of the glob below the base; empty if all files match.
        is_directory: whether the glob matches directories.
    """
    matches = re.compile(glob_translate("/".join(glob))).match
    spelled_out = [re.compile(glob_translate(part)).match for part in glob if _is_hidden(part)]
    divided = Listing(listing.pattern, listing.base, [], is_glob=bool(glob))
    for file in listing.files:
        names = listing.path_below_base(file).split("/")
        candidates = range(1, len(names)) if is_directory else [len(names)]
        if glob and not any(matches("/".join(names[:length])) for length in candidates):
            divided.others.append(file)
        elif any(_is_hidden(name) and not any(match(name) for match in spelled_out) for name in names):
            divided.hidden.append(file)
        else:
            divided.files.append(file)
    return divided


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or (name.startswith("_") and "=" not in name) or name.endswith("._COPYING_")
