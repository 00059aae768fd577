"""Tensors in a file that several processes of a machine map into their memory, so that they share its pages."""

from __future__ import annotations

import fcntl
import json
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from torch import Tensor

_ALIGNMENT = 64  # bytes, as torch allocates


def map_tensors(path: Path, read: Callable[[], Iterable[tuple[str, Tensor]]]) -> dict[str, Tensor]:
    """Return tensors as views of a file. The first process writes it, and others wait for that.

    Args:
        path: the file. No other program may write to it.
        read: yields the names and the tensors, on the CPU; called if the file does not exist.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the process ends, for any reason
        if not path.exists():
            _write(path, read())
    index: dict[str, Any] = json.loads(_index_path(path).read_text(encoding="utf-8"))
    # Private, so that a process cannot change the tensors of others; only pages that are written to are copied.
    data = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)
    return {
        name: data[start:end].view(getattr(torch, dtype)).view(shape)
        for name, (dtype, shape, start, end) in index.items()
    }


def _write(path: Path, tensors: Iterable[tuple[str, Tensor]]) -> None:
    index: dict[str, tuple[str, list[int], int, int]] = {}
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            for name, tensor in tensors:
                start = file.seek(-(-file.tell() // _ALIGNMENT) * _ALIGNMENT)
                file.write(tensor.reshape(-1).view(torch.uint8).numpy().data)
                index[name] = str(tensor.dtype).removeprefix("torch."), list(tensor.shape), start, file.tell()
        _index_path(path).write_text(json.dumps(index), encoding="utf-8")
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def _index_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
