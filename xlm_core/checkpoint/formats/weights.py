"""The common form of weights files: names, shapes and dtypes, and values that are read on demand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xlm_core.errors import CheckpointError
from xlm_core.files import check_regular_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

FLOAT_DTYPES = (
    "float64",
    "float32",
    "float16",
    "bfloat16",
)  # no float8: its values are meaningless without their scales
_MAX_REASON_CHARS = 200
_LFS_START = b"version https://git-lfs"


@dataclass(frozen=True)
class Weights:
    """The tensors of a checkpoint by name. Each is read on demand."""

    path: Path  # the file, or the index of a sharded checkpoint; used in messages
    format_name: str  # for display
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]  # one of FLOAT_DTYPES; another dtype, or the name of a defect, marks an unusable tensor
    # Returns the values of a tensor, possibly a view of the file: copy them before the file changes. Those of bfloat16,
    # which NumPy does not have, are returned as uint16 of the same bits.
    values: Callable[[str], NDArray[Any]]

    def read(self, name: str) -> Tensor:
        """Return a tensor on the CPU, possibly a view of the file: copy it before the file changes."""
        import torch  # here, because a checkpoint can be checked without it

        tensor = torch.from_numpy(self.values(name))
        return tensor.view(torch.bfloat16) if self.dtypes[name] == "bfloat16" else tensor


def check_first_bytes(path: Path) -> None:
    """Check the first bytes of a weights file of any format.

    Raises:
        CheckpointError: a directory, a FIFO, an unreadable or empty file, or a Git LFS pointer.
    """
    try:
        check_regular_file(path)
        with path.open("rb") as file:
            start = file.read(len(_LFS_START))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if not start:
        raise CheckpointError(f"{path}: is empty; fetch the checkpoint again")
    if start == _LFS_START:
        raise CheckpointError(f"{path}: is a Git LFS pointer, not the weights; fetch them with `git lfs pull`")


def damaged_file_error(path: Path, expected: str, reason: object) -> CheckpointError:
    """Build the error for a damaged file. Only the first line of the reason is used."""
    line = next((line for line in str(reason).splitlines() if line.strip()), type(reason).__name__)
    return CheckpointError(f"{path}: cut off, or not {expected}: {line.strip()[:_MAX_REASON_CHARS]}")
