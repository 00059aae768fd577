"""Which files of a directory make a checkpoint, and the hash of what they hold."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from xlm_core.checkpoint.config import CONFIG_FILE, XLMConfig
from xlm_core.checkpoint.files import weights_files, weights_path
from xlm_core.errors import CheckpointError
from xlm_core.files.regular_files import check_regular

if TYPE_CHECKING:
    from collections.abc import Collection

_TOKENIZER_FILES = (
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
    return [*config, *weights_files(names), *(name for name in _TOKENIZER_FILES if name in names)]


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
