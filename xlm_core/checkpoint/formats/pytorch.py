"""Weights as PyTorch saves them: a pickle, in a zip archive since torch 1.6, and before that bare.

It is read with torch's loader for tensors only, which refuses to call anything else.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from xlm_core.checkpoint.formats.tensors import FLOATS, Weights, broken, check_start
from xlm_core.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

_KIND = "a PyTorch weights file"
_ADVICE = re.compile(r"(Weights only load failed|Please file an issue|Check the documentation).*")


def open_pytorch(path: Path) -> Weights:
    """Open a `.bin` file; those in a zip archive are mapped, older ones must be read whole.

    Raises:
        CheckpointError: the file is cut off, is something else, or would run code.
    """
    return tensors_by_name(path, load_pickle(path), "PyTorch (.bin)")


def load_pickle(path: Path) -> Any:
    """Read what a file holds, without ever running code that it names.

    Raises:
        CheckpointError: the file is cut off, is something else, or would run code.
    """
    check_start(path)
    zipped = zipfile.is_zipfile(path)
    try:
        if zipped:
            _check_archive(path)
        with warnings.catch_warnings(action="ignore"):  # of strange versions, where the error is clearer
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # a damaged pickle raises whatever its damage leads to
        if found := re.search(r"GLOBAL (\w\S*)", str(error)):
            raise CheckpointError(
                f"{path}: refused, its pickle would call {found[1]}; weights are tensors only. Get the checkpoint"
                " from its publisher as model.safetensors"
            ) from None
        raise broken(path, _KIND, _ADVICE.sub("", str(error)).strip() or type(error).__name__) from None


def tensors_by_name(path: Path, content: object, form: str) -> Weights:
    """Take a loaded mapping of tensors as weights.

    Raises:
        CheckpointError: it is no mapping, or holds anything but tensors.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: expected tensors by name, got a {type(content).__name__}")
    tensors = cast("Mapping[Any, Any]", content)
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{path}: expected tensors by name, got a {type(tensor).__name__} under {name!r};"
                " is this a training state rather than a model?"
            )
    kinds = {name: _kind(tensor) for name, tensor in tensors.items()}
    _check_storages(path, [tensor for name, tensor in tensors.items() if kinds[name] in FLOATS])
    return Weights(
        path,
        form,
        {name: tuple(tensor.shape) for name, tensor in tensors.items()},
        kinds,
        lambda name: tensors[name],
    )


def _check_archive(path: Path) -> None:
    """Refuse an archive that would unpack to more than it holds; torch itself stores, and never packs."""
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
    packed = any(record.compress_type != zipfile.ZIP_STORED for record in records)
    if packed or sum(record.file_size for record in records) > path.stat().st_size:
        raise ValueError("its archive is packed, or claims more bytes than it has")


def _check_storages(path: Path, tensors: list[Tensor]) -> None:
    """Refuse tensors that are longer than the archive's record of them: mapped, they would read on in the next one."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        held = Counter(record.file_size for record in archive.infolist() if "/data/" in record.filename)
    storages = (tensor.untyped_storage() for tensor in tensors)
    claimed = Counter(size for _, size in {(storage.data_ptr(), storage.nbytes()) for storage in storages})
    if claimed - held:
        raise broken(path, _KIND, "its archive holds fewer values than its tensors have")


def _kind(tensor: Tensor) -> str:
    """Give a tensor's dtype, or what makes it no weight: values that are not there, or not laid out in full."""
    if tensor.is_meta:
        return "meta"
    if tensor.layout != torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return "fewer values than its shape says"
    return str(tensor.dtype).removeprefix("torch.")
