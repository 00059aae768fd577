"""Weight files opened without reading their tensors: `model.safetensors`, or `pytorch_model.bin`.

A .bin is a pickle. It is read with torch's loader for tensors only, which refuses to call anything else.
"""

import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from xlm_core.errors import CheckpointError

SAFETENSORS_FILE = "model.safetensors"
BIN_FILE = "pytorch_model.bin"
_FLOATS = ("F64", "F32", "F16", "BF16")  # float8 is left out: without its scales the numbers mean nothing


@dataclass(frozen=True)
class WeightsFile:
    """The tensors of a file by name; their data is read one by one, when asked for."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    not_floats: Mapping[str, str]  # name to what it is instead, for tensors that cannot be weights
    read: Callable[[str], Tensor]  # on the CPU; may be a view of the file, so copy before the file changes


def weights_path(directory: Path) -> Path:
    """Find the weights of a checkpoint directory; `model.safetensors` comes first.

    Raises:
        CheckpointError: there are none.
    """
    for name in (SAFETENSORS_FILE, BIN_FILE):
        if (directory / name).is_file():
            return directory / name
    if any(directory.glob("*.index.json")):
        raise CheckpointError(
            f"{directory}: its weights are cut into several files, which are not read;"
            f" save them as one {SAFETENSORS_FILE}"
        )
    raise CheckpointError(f"{directory}: has neither {SAFETENSORS_FILE} nor {BIN_FILE}")


def open_weights(directory: Path) -> WeightsFile:
    """Open the weights of a checkpoint directory.

    Safetensors and zip-format .bin files (torch 1.6 and later) are mapped, so this costs a header's worth of
    reading; older .bin files must be read whole.

    Raises:
        CheckpointError: no weights, or a file that is cut off, is something else, or would run code.
    """
    path = weights_path(directory)
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path}: is a Git LFS pointer, not the weights; fetch them with `git lfs pull`")
    return _open_safetensors(path) if path.name == SAFETENSORS_FILE else _open_bin(path)


def _open_safetensors(path: Path) -> WeightsFile:
    try:
        file = safe_open(path, framework="pt")
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
    except SafetensorError as error:
        raise CheckpointError(f"{path}: cut off, or not a safetensors file: {_reason(error)}") from None
    return WeightsFile(
        path,
        {name: tuple(part.get_shape()) for name, part in slices.items()},
        {name: part.get_dtype() for name, part in slices.items() if part.get_dtype() not in _FLOATS},
        file.get_tensor,
    )


def _open_bin(path: Path) -> WeightsFile:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a damaged pickle raises whatever its damage leads to
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            raise CheckpointError(
                f"{path}: refused, its pickle would call {found[1]}; weights are tensors only. Get the checkpoint"
                f" from its publisher as {SAFETENSORS_FILE}"
            ) from None
        raise CheckpointError(f"{path}: cut off, or not a PyTorch weights file: {_reason(error)}") from None
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: expected tensors by name, got a {type(content).__name__}")
    tensors = cast("Mapping[Any, Any]", content)
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{path}: expected tensors by name, got a {type(tensor).__name__} under {name!r};"
                " is this a training state rather than a model?"
            )
    return WeightsFile(
        path,
        {name: tuple(tensor.shape) for name, tensor in tensors.items()},
        {name: kind for name, tensor in tensors.items() if (kind := _unfit(tensor)) is not None},
        lambda name: tensors[name],
    )


def _reason(error: Exception) -> str:
    """Pick the line that says what is wrong out of an error's advice on how to switch the protection off."""
    advice = ("Weights only load failed", "Please file an issue", "Check the documentation")
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith(advice)]
    return (lines or [type(error).__name__])[0][:200]


def _unfit(tensor: Tensor) -> str | None:
    """Say what a tensor is that cannot be a weight: no float, or no values laid out in full."""
    if tensor.is_meta:
        return "meta"
    if tensor.layout != torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    fits = tensor.dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    return None if fits else str(tensor.dtype).removeprefix("torch.")
