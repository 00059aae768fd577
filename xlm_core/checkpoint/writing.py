"""Writing a checkpoint directory in the field-standard layout."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import save_file

from xlm_core.checkpoint.files import CONFIG_FILE, SAFETENSORS_FILE

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from torch import Tensor

    from xlm_core.checkpoint.config import XLMConfig


def write_checkpoint(
    path: str | Path, config: XLMConfig, tensors: Mapping[str, Tensor], architectures: Sequence[str]
) -> None:
    """Write `config.json` and `model.safetensors`.

    Both are written beside their places and then renamed into them, the configuration last.

    Args:
        path: the directory, made if need be.
        config: what the tensors are.
        tensors: by their names in the file; on the CPU, contiguous, and none in the memory of another.
        architectures: the reference's classes that read them.
    """
    directory = Path(path)
    directory.mkdir(parents=True, exist_ok=True)
    described = config.to_dict() | {
        "architectures": list(architectures),
        "dtype": str(next(iter(tensors.values())).dtype).removeprefix("torch.") if tensors else "float32",
    }
    described.pop("torch_dtype", None)  # the older name of dtype
    with _replacing(directory / CONFIG_FILE) as config_file, _replacing(directory / SAFETENSORS_FILE) as weights:
        config_file.write_text(json.dumps(described, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        save_file(dict(tensors), weights, metadata={"format": "pt"})
        weights.chmod(config_file.stat().st_mode)  # safetensors writes files that only their owner reads


@contextmanager
def _replacing(target: Path) -> Generator[Path]:
    """Give a temporary path that takes the target's place when all went well."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
