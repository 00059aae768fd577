"""The files that a path, a directory, a glob or a list of them names, wherever they lie."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fsspec.utils import glob_translate

from pipelines.errors import FatalError
from pipelines.formatting import one_line
from pipelines.storage.location import FileInfo, locate
from pipelines.storage.retries import reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.storage.options import StoreSettings

_MAGIC = re.compile(r"[*?\[]")


def find_files(
    patterns: str | Sequence[str], stores: Sequence[StoreSettings] = (), setting: str = "input.path"
) -> list[FileInfo]:
    """Find the Parquet files that a file, a directory, a glob, or a list of them names.

    In a directory, and below it, every file counts except those with a name, or in a directory with a name, that
    begins with `_` or `.`; `**` in a glob stands for any number of directories.

    Args:
        patterns: what to find.
        stores: options of the stores they lie in.
        setting: where a person wrote them, for errors.

    Returns:
        Each file once, ordered by URL.

    Raises:
        FatalError: a pattern names nothing.
        RetryableError: a store does not answer.
    """
    found: dict[str, FileInfo] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        try:
            files = _expand(pattern, stores)
        except UnicodeEncodeError as error:
            raise FatalError(f"{one_line(str(error.object))}: a name that is not UTF-8; rename it") from None
        except (OSError, ValueError) as error:
            raise FatalError(f"{pattern}: cannot be listed ({reason(error)}); correct {setting}") from None
        if not files:
            what = "no file matches" if _MAGIC.search(pattern) else "no such file or directory"
            if locate(pattern, stores).exists():
                what = "the directory holds no data files"
            raise FatalError(f"{pattern}: {what}; correct {setting}")
        found |= {file.url: file for file in files}
    return [found[url] for url in sorted(found)]


def _expand(pattern: str, stores: Sequence[StoreSettings]) -> list[FileInfo]:
    location = locate(pattern, stores)
    if location.is_file():
        return [location.file_info()]
    if not _MAGIC.search(pattern) or location.exists():  # a name may hold a glob's characters, also within a glob
        return [file for file in location.list(recursive=True) if not _hidden(file.url, location.url)]
    parts = pattern.split("/")
    plain = 0
    while not _MAGIC.search(parts[plain]) or locate("/".join(parts[: plain + 1]), stores).exists():
        plain += 1
    folder = locate("/".join(parts[:plain]) + "/" if plain else ".", stores)
    matches = re.compile(glob_translate("/".join(parts[plain:]))).match
    inner = len(folder.url.rstrip("/")) + 1
    files = folder.list(recursive=True)
    return [file for file in files if matches(file.url[inner:]) and not _hidden(file.url, folder.url)]


def _hidden(url: str, below: str) -> bool:
    return any(part.startswith(("_", ".")) for part in url[len(below) :].strip("/").split("/"))
