"""Hash the files of a checkpoint."""

from __future__ import annotations

import hashlib
from pathlib import Path

from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.files import CONFIG_FILE, VOCAB_FILE, needed_files, weights_files, weights_path
from xlm_core.errors import CheckpointError
from xlm_core.files import check_regular_file

_CHUNK_BYTES = 1 << 22


def content_hash(path: str | Path) -> str:
    """Hash the files of a checkpoint that determine results: configuration, weights and tokenizer.

    A directory with only the files of a tokenizer has a hash, too: a new model is trained with it.

    Returns:
        The hex SHA-256 over name, size and bytes of each of `needed_files`.

    Raises:
        CheckpointError: no such directory, no configuration, no weights, or a file that cannot be read.
    """
    directory = Path(path)
    names = [file.name for file in directory.iterdir()] if directory.is_dir() else []
    if CONFIG_FILE in names or VOCAB_FILE not in names or weights_files(names):
        XLMConfig.from_pretrained(directory)
        weights_path(directory)  # raises if there are none
    digest = hashlib.sha256()
    for file in (directory / name for name in needed_files(names)):
        try:
            check_regular_file(file)
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
        except OSError as error:
            raise CheckpointError(f"{file}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()
