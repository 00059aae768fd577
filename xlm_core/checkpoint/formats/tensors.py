"""What weights of any format are opened as: names, shapes and dtypes at once, the values when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xlm_core.errors import CheckpointError
from xlm_core.files import check_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor

FLOATS = ("float64", "float32", "float16", "bfloat16")  # float8 is left out: without its scales it means nothing
_LONGEST_REASON = 200
_LFS_START = b"version https://git-lfs"


@dataclass(frozen=True)
class Weights:
    """The tensors of a checkpoint by name; their data is read one by one, when asked for."""

    path: Path  # what messages name: the file, or the index of several
    form: str  # the format, for a person
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]  # one of FLOATS, or what the tensor is instead and thus can be no weight
    read: Callable[[str], Tensor]  # on the CPU; may be a view of the file, so copy before the file changes


def check_start(path: Path) -> None:
    """Refuse what can be told from a file's first bytes to hold no weights of any format.

    Raises:
        CheckpointError: a directory, a FIFO, an unreadable or empty file, or the pointer that Git LFS leaves instead.
    """
    try:
        check_regular(path)
        with path.open("rb") as file:
            start = file.read(len(_LFS_START))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if not start:
        raise CheckpointError(f"{path}: is empty; fetch the checkpoint again")
    if start == _LFS_START:
        raise CheckpointError(f"{path}: is a Git LFS pointer, not the weights; fetch them with `git lfs pull`")


def broken(path: Path, expected: str, reason: object) -> CheckpointError:
    """Make the error for a damaged file, in one line however many the reason has."""
    line = next((line for line in str(reason).splitlines() if line.strip()), type(reason).__name__)
    return CheckpointError(f"{path}: cut off, or not {expected}: {line.strip()[:_LONGEST_REASON]}")
