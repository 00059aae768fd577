"""Find the files of a job's input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.storage import FileInfo, describe_hidden, list_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.job import InputSettings
    from pipelines.storage import StoreSettings

_SETTING = "input.path"


def find_input_files(spec: InputSettings, stores: Sequence[StoreSettings]) -> tuple[list[FileInfo], list[str]]:
    """Find the files of a job's input, each once, ordered by URL.

    Args:
        spec: the input settings.
        stores: settings of the stores that contain the corpus.

    Returns:
        The files, and messages for the user about files that are not read.

    Raises:
        FatalError: a path matches no file, or cannot be listed.
        RetryableError: a store does not respond.
    """
    patterns = [spec.path] if isinstance(spec.path, str) else spec.path
    listings = [list_files(pattern, stores, _SETTING) for pattern in patterns]
    for listing in listings:
        listing.check_not_empty(_SETTING)
    found = {file.url: file for listing in listings for file in listing.files}
    hidden = {file.url: file for listing in listings for file in listing.hidden if file.url not in found}
    notes = [f"not read: {describe_hidden(list(hidden.values()))}"] if hidden else []
    return [found[url] for url in sorted(found)], notes
