"""Weights saved by PyTorch: a pickle, within a zip archive since torch 1.6.

They are read with torch's `weights_only` loader, which never runs code from the pickle.
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

from xlm_core.checkpoint.formats.weights import FLOAT_DTYPES, Weights, check_first_bytes, damaged_file_error
from xlm_core.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_KIND = "a PyTorch weights file"
_ADVICE = re.compile(r"(Weights only load failed|Please file an issue|Check the documentation).*")


def open_pytorch(path: Path) -> Weights:
    """Open a `.bin` file. Zip archives are memory-mapped; older files are read completely.

    Raises:
        CheckpointError: the file is truncated, is not a weights file, or would run code.
    """
    return weights_from_mapping(path, load_pickle(path), "PyTorch (.bin)")


def load_pickle(path: Path) -> Any:
    """Load a pickle of tensors and plain values, without running code.

    Raises:
        CheckpointError: the file is truncated, is not a weights file, or would run code.
    """
    check_first_bytes(path)
    is_zip = zipfile.is_zipfile(path)
    try:
        if is_zip:
            _check_archive(path)
        with warnings.catch_warnings(action="ignore"):  # about unusual versions; the error is clearer
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except Exception as error:  # a damaged pickle can raise any exception
        if found := re.search(r"GLOBAL (\w\S*)", str(error)):
            raise CheckpointError(
                f"{path}: refused, its pickle would call {found[1]}; weights files may contain only tensors; get the"
                " checkpoint as model.safetensors from its publisher"
            ) from None
        raise damaged_file_error(path, _KIND, _ADVICE.sub("", str(error)).strip() or type(error).__name__) from None


def weights_from_mapping(path: Path, content: object, format_name: str) -> Weights:
    """Convert a loaded mapping of tensors to `Weights`.

    Raises:
        CheckpointError: `content` is not a mapping, or has values that are not tensors.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: expected tensors by name, got a {type(content).__name__}")
    tensors = cast("Mapping[Any, Any]", content)
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{path}: expected tensors by name, got a {type(tensor).__name__} under {name!r};"
                " is this a training state, not a model?"
            )
    dtypes = {name: _dtype_or_defect(tensor) for name, tensor in tensors.items()}
    _check_storages(path, [tensor for name, tensor in tensors.items() if dtypes[name] in FLOAT_DTYPES])
    return Weights(
        path,
        format_name,
        {name: tuple(tensor.shape) for name, tensor in tensors.items()},
        dtypes,
        lambda name: _values(tensors[name]),
    )


def _values(tensor: Tensor) -> NDArray[Any]:
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy(force=True)


def _check_archive(path: Path) -> None:
    """Refuse an archive that would expand when read. Archives written by torch are not compressed."""
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
    is_compressed = any(record.compress_type != zipfile.ZIP_STORED for record in records)
    if is_compressed or sum(record.file_size for record in records) > path.stat().st_size:
        raise ValueError("its archive is compressed, or claims more bytes than it has")


def _check_storages(path: Path, tensors: list[Tensor]) -> None:
    """Refuse tensors that are longer than their record in the archive: mapped, they would overlap the next record."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        held = Counter(record.file_size for record in archive.infolist() if "/data/" in record.filename)
    storages = (tensor.untyped_storage() for tensor in tensors)
    claimed = Counter(size for _, size in {(storage.data_ptr(), storage.nbytes()) for storage in storages})
    if claimed - held:
        raise damaged_file_error(path, _KIND, "its archive holds fewer values than its tensors have")


def _dtype_or_defect(tensor: Tensor) -> str:
    """Return a tensor's dtype, or why it cannot be used as a weight: missing values, or a layout other than strided."""
    if tensor.is_meta:
        return "meta"
    if tensor.layout != torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return "fewer values than its shape says"
    return str(tensor.dtype).removeprefix("torch.")
