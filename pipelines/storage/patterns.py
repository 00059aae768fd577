"""Paths, directories and globs: which files below a directory they match, and which of these are hidden."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from fsspec.utils import glob_translate

from pipelines.storage.location import Location, locate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.storage.store_settings import StoreSettings

_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Pattern:
    """A path, a directory or a glob.

    A directory matches all files below it. A glob matches files or, if it ends with `/`, directories with all files
    below them. `**` in a glob matches any number of directories.

    Names are hidden by the rule of Spark: names that begin with `.`, names that begin with `_` and contain no `=`, and
    names that end with `._COPYING_`, which HDFS gives to a file while it is copied. So `_year=2020`, a partition, is
    not hidden. A file is hidden if its own name is, or that of a directory in which it was found. Names that the path
    or the glob spells out, as in `_staging/*.parquet`, are not hidden.

    Attributes:
        text: as written by the user.
        base: the file or directory; for a glob, the directory in which its wildcards begin.
        glob: the parts of the glob below the base; empty if it is not a glob.
    """

    text: str
    base: Location
    glob: tuple[str, ...] = ()

    def path_below_base(self, url: str) -> str:
        """Return the path of a file below the base; empty for the base itself."""
        return url[len(self.base.url) :].strip("/")

    def matches(self, path: str) -> bool:
        """Return whether a file matches, which may be hidden; `path` is its path below the base."""
        if not self.glob:
            return True
        names = path.split("/")
        lengths = range(1, len(names)) if self.text.endswith("/") else [len(names)]
        return any(self._regex.match("/".join(names[:length])) for length in lengths)

    def hides(self, path: str) -> bool:
        """Return whether a file is hidden; `path` is its path below the base."""
        return any(_is_hidden(name) and not any(r.match(name) for r in self._spelled_out) for name in path.split("/"))

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(glob_translate("/".join(self.glob)))

    @cached_property
    def _spelled_out(self) -> list[re.Pattern[str]]:
        return [re.compile(glob_translate(part)) for part in self.glob if _is_hidden(part)]


def read_pattern(text: str, stores: Sequence[StoreSettings]) -> Pattern:
    """Find out what a path, a directory or a glob refers to.

    A name may contain wildcard characters. So if a path exists, it is not a glob, and the same is true for the
    directories at the beginning of a glob.
    """
    location = locate(text, stores)
    if not _WILDCARD.search(text) or location.exists():
        return Pattern(text, location)
    parts = location.url.rstrip("/").split("/")
    num_literal = 0
    while not _WILDCARD.search(parts[num_literal]) or locate("/".join(parts[: num_literal + 1]), stores).exists():
        num_literal += 1
    return Pattern(text, locate("/".join(parts[:num_literal]) + "/", stores), tuple(parts[num_literal:]))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or (name.startswith("_") and "=" not in name) or name.endswith("._COPYING_")
