"""Write a checkpoint directory in the standard layout."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import save_file

from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.files import CONFIG_FILE, SAFETENSORS_FILE
from xlm_core.errors import CheckpointError
from xlm_core.files import read_json_object

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from torch import Tensor


def write_checkpoint(
    path: str | Path, config: XLMConfig, tensors: Mapping[str, Tensor], architectures: Sequence[str]
) -> None:
    """Write `config.json` and `model.safetensors`.

    Both are written to temporary files and then renamed, the configuration last.

    Args:
        path: the directory, created if missing.
        config: the configuration of the model.
        tensors: by name in the file; CPU tensors, contiguous, without shared memory.
        architectures: the reference's classes that can load them.
    """
    directory = Path(path)
    directory.mkdir(parents=True, exist_ok=True)
    settings = config.to_dict() | {
        "architectures": list(architectures),
        "dtype": str(next(iter(tensors.values())).dtype).removeprefix("torch.") if tensors else "float32",
    }
    settings.pop("torch_dtype", None)  # the older name of dtype
    with _replacing(directory / CONFIG_FILE) as config_file, _replacing(directory / SAFETENSORS_FILE) as weights:
        config_file.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        save_file(dict(tensors), weights, metadata={"format": "pt"})
        weights.chmod(config_file.stat().st_mode)  # safetensors creates files that only their owner can read


def set_score_temperature(path: str | Path, temperature: float) -> None:
    """Set the temperature in the `config.json` of a checkpoint directory; everything else stays as it is.

    Raises:
        CheckpointError: there is no such file, or it is not valid.
        FatalError: the temperature is not above 0.
    """
    file = Path(path) / CONFIG_FILE
    settings = read_json_object(file, CheckpointError) | {"score_temperature": temperature}
    XLMConfig.from_dict(settings)
    with _replacing(file) as temporary:
        temporary.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.chmod(file.stat().st_mode)


@contextmanager
def _replacing(target: Path) -> Generator[Path]:
    """Yield a temporary path, which is renamed to the target if the block succeeds."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
