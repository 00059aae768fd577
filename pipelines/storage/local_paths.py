"""How local files are written in job files and on the command line: as paths, or as `file:` URLs."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

from pipelines.errors import FatalError

_FILE_URL = re.compile(r"file:(?://(?P<host>[^/]*))?(?P<path>/.*)", re.DOTALL)
_VARIABLE = re.compile(r"(?:^|/)\$\w+(?=/|$)|\$\{\w+\}")


def local_path(url: str) -> str | None:
    """Return the absolute path of a local file or directory; None for a URL of another store.

    - A relative path is relative to the current directory.
    - `~` and `~user` at the beginning are home directories.
    - `..` is the parent of the directory that a link before it points to, as for the operating system.
    - In `file:` URLs, which are absolute, percent escapes are decoded (RFC 8089). Paths have no escapes.

    Raises:
        FatalError: a `file:` URL names another host or is not absolute.
    """
    if url.startswith("file:"):
        found = _FILE_URL.fullmatch(url)
        if found is None or (found["host"] or "localhost") != "localhost":
            raise FatalError(f"{url}: not the URL of a local file; write a path, or file:/// and an absolute path")
        path = unquote(found["path"], errors="surrogateescape")
    elif "://" in url:
        return None
    else:
        path = os.path.expanduser(url)  # noqa: PTH111 - Path.expanduser fails if there is no such user
    # not Path.absolute, which takes five times as long; a corpus may have a million files
    return os.path.realpath(path) if ".." in path.split("/") else os.path.abspath(path)  # noqa: PTH100


def find_variable(url: str) -> str | None:
    """Find an environment variable in a URL or path, such as `$HOME` in `$HOME/corpus`; None if there is none."""
    found = _VARIABLE.search(url)
    return found and found[0].lstrip("/")
