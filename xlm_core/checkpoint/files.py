"""Which files of a directory make a checkpoint, and the hashes that tell checkpoints apart."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from xlm_core.checkpoint_names import canonical, is_trunk_tensor
from xlm_core.config import CONFIG_FILE, XLMConfig
from xlm_core.errors import CheckpointError
from xlm_core.regular_files import check_regular
from xlm_core.weights import open_weights, weights_files, weights_path

if TYPE_CHECKING:
    from collections.abc import Collection

TOKENIZER_FILES = (
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_CHUNK_BYTES = 1 << 22


def needed_files(names: Collection[str]) -> list[str]:
    """Choose, of the names of a directory's files, those that make its checkpoint.

    Returns:
        Configuration, weights of the one format that is loaded, and tokenizer files, as far as they are there.
    """
    config = [CONFIG_FILE] if CONFIG_FILE in names else []
    return [*config, *weights_files(names), *(name for name in TOKENIZER_FILES if name in names)]


def content_hash(path: str | Path) -> str:
    """Hash what a checkpoint directory makes of a text: configuration, weights and tokenizer files.

    Returns:
        The hex SHA-256 over name, size and bytes of each of `needed_files`.

    Raises:
        CheckpointError: no such directory, no configuration, no weights, or a file that cannot be read.
    """
    directory = Path(path)
    XLMConfig.from_pretrained(directory)
    weights_path(directory)  # or else there is nothing to hash
    digest = hashlib.sha256()
    for file in (directory / name for name in needed_files([file.name for file in directory.iterdir()])):
        try:
            check_regular(file)
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
        except OSError as error:
            raise CheckpointError(f"{file}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def trunk_hash(path: str | Path) -> str | None:
    """Hash the trunk's tensors alone, to tell whether a head was trained on the trunk it is to be run over.

    Returns:
        The hex SHA-256 over names, dtypes, shapes and values, whatever the file format; None for a directory that
        holds no trunk. The same numbers in another precision hash differently.
    """
    directory = Path(path)
    config = XLMConfig.from_pretrained(directory)
    weights = open_weights(directory)
    by_name = {canonical(name): name for name in weights.shapes}
    digest = hashlib.sha256()
    names = sorted(name for name in by_name if is_trunk_tensor(name, config))
    for name in names:
        tensor = weights.read(by_name[name]).contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest() if names else None
