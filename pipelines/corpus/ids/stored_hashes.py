"""The hashes of any number of ids: in memory, and in temporary files if there are many."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.corpus.ids.repeated_hashes import RepeatedHashes, split_hashes

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

_MAX_IN_MEMORY = 2**22  # 32 MB
_NUM_FILES = 256  # so that one file of a billion hashes has as many


class StoredHashes:
    """Hashes that are added bit by bit. The files are deleted at the end of a `with` block."""

    def __init__(self) -> None:
        self._arrays: list[NDArray[np.uint64]] = []  # in memory
        self._num_hashes = 0
        self._files: list[Path] = []
        self._folder = ExitStack()

    def __enter__(self) -> StoredHashes:
        """Return the hashes."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        """Delete the files."""
        self._folder.close()

    def add(self, hashes: NDArray[np.uint64]) -> None:
        """Add hashes."""
        if len(hashes):
            self._arrays.append(hashes)
            self._num_hashes += len(hashes)
        if self._num_hashes >= _MAX_IN_MEMORY:
            self._write()

    def find_repeated(self) -> RepeatedHashes:
        """Find the repeated ones of all hashes."""
        if not self._files:
            return RepeatedHashes.find(self._arrays)
        self._write()
        return RepeatedHashes.join([RepeatedHashes.find([np.fromfile(file, np.uint64)]) for file in self._files])

    def _write(self) -> None:
        if not self._files:
            folder = Path(self._folder.enter_context(tempfile.TemporaryDirectory(prefix="xlm-ids-")))
            self._files = [folder / str(number) for number in range(_NUM_FILES)]
        for file, part in zip(self._files, split_hashes(self._arrays, _NUM_FILES), strict=True):
            with file.open("ab") as opened:
                part.tofile(opened)
        self._arrays, self._num_hashes = [], 0
