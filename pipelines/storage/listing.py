"""Find the files that a path, a directory, a glob or a list of them matches."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fsspec.utils import glob_translate

from pipelines.errors import FatalError
from pipelines.formatting import one_line
from pipelines.storage.location import FileInfo, locate
from pipelines.storage.retries import describe_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.storage.store_settings import StoreSettings

_WILDCARD = re.compile(r"[*?\[]")


def find_files(
    patterns: str | Sequence[str], stores: Sequence[StoreSettings] = (), setting: str = "input.path"
) -> list[FileInfo]:
    """Find the files that a path, a directory, a glob or a list of them matches.

    A directory matches all files below it. Files and directories with names that begin with `_` or `.` are skipped.
    `**` in a glob matches any number of directories.

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
        try:
            files = _expand(pattern, stores)
        except UnicodeEncodeError as error:
            raise FatalError(f"{one_line(str(error.object))}: the name is not UTF-8; rename the file") from None
        except (OSError, ValueError) as error:
            raise FatalError(f"{pattern}: cannot be listed ({describe_error(error)}); correct {setting}") from None
        if not files:
            problem = "no file matches" if _WILDCARD.search(pattern) else "no such file or directory"
            if locate(pattern, stores).exists():
                problem = "the directory contains no data files"
            raise FatalError(f"{pattern}: {problem}; correct {setting}")
        found |= {file.url: file for file in files}
    return [found[url] for url in sorted(found)]


def _expand(pattern: str, stores: Sequence[StoreSettings]) -> list[FileInfo]:
    location = locate(pattern, stores)
    if location.is_file():
        return [location.file_info()]
    # A name may contain wildcard characters. So if the path exists, it is not a glob, and the same is true for the
    # directories at the beginning of a glob.
    if not _WILDCARD.search(pattern) or location.exists():
        return [file for file in location.list(recursive=True) if not _is_hidden(file.url, location.url)]
    parts = pattern.split("/")
    num_literal = 0
    while not _WILDCARD.search(parts[num_literal]) or locate("/".join(parts[: num_literal + 1]), stores).exists():
        num_literal += 1
    folder = locate("/".join(parts[:num_literal]) + "/" if num_literal else ".", stores)
    matches = re.compile(glob_translate("/".join(parts[num_literal:]))).match
    prefix_chars = len(folder.url.rstrip("/")) + 1
    files = folder.list(recursive=True)
    return [file for file in files if matches(file.url[prefix_chars:]) and not _is_hidden(file.url, folder.url)]


def _is_hidden(url: str, folder_url: str) -> bool:
    return any(part.startswith(("_", ".")) for part in url[len(folder_url) :].strip("/").split("/"))
