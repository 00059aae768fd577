"""Load modules from checkpoint directories and save them."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor, nn

from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.formats import open_weights
from xlm_core.checkpoint.matching import match_tensors
from xlm_core.checkpoint.meta_init import on_meta_device
from xlm_core.checkpoint.names import (
    TRUNK_PREFIX,
    ModelKind,
    ModelPart,
    derivable_tensors,
    expected_shapes,
    module_sources,
    module_to_file,
    tied_tensors,
)
from xlm_core.checkpoint.writing import write_checkpoint
from xlm_core.errors import CheckpointError
from xlm_core.files import map_tensors
from xlm_core.precision import model_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from xlm_core.checkpoint.formats import Weights


class PretrainedModule(nn.Module):
    """A module with a configuration that can be loaded from and saved to a checkpoint directory.

    The `parts` of a subclass are ("trunk",), ("head",), or both. A head reads only its own tensors from a directory,
    which may contain a trunk too. A module with both parts has them as its attributes `trunk` and `head`.
    """

    kind: ClassVar[ModelKind]
    parts: ClassVar[tuple[ModelPart, ...]]
    reference_class: ClassVar[str]  # its name in config.json

    config: XLMConfig

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
        *,
        causal: bool | None = None,
        shared: Path | None = None,
    ) -> Self:
        """Load the module from a checkpoint directory, in evaluation mode.

        The file must contain every tensor of the module and no unknown tensor: no weight is left at random values.

        Args:
            path: a local directory with a configuration and weights in any format of `checkpoint.formats`.
            dtype: the precision or its name, such as "bfloat16"; float32 by default, for files of any precision.
            device: the CPU by default.
            causal: whether a token attends only to earlier tokens; by default as in the configuration. The released
                causal checkpoints have causal: false in their configuration and need `causal=True`.
            shared: a file that the processes of a machine share, for a module on the CPU: the first process writes the
                tensors to it, and all map it into their memory. Its name must be different for each content.

        Raises:
            CheckpointError: one line with the file and the problem.
            FatalError: the configuration does not allow the head.
            ValueError: an unsupported `dtype`, or a `causal` that is not a boolean.
        """
        precision = model_dtype(dtype)
        if causal not in (None, True, False):
            raise ValueError(f"causal: got {causal!r}, expected True, False or None")
        directory = Path(path)
        config = XLMConfig.from_pretrained(directory)
        if causal is not None:
            config = config.with_objective("causal" if causal else "masked")
        weights = open_weights(directory)
        names = match_tensors(weights, config, cls.kind, cls.parts)
        read = partial(cls._read, weights, names, precision, torch.device(device or "cpu"))
        state = dict(read()) if shared is None else map_tensors(shared, read)
        cls._derive(state, config, names, precision, device or "cpu")
        with on_meta_device():
            module = cls(config)
        try:
            module.load_state_dict(state, strict=True, assign=True)
        except CheckpointError as error:  # raised by a model that ties the tensors it loads
            raise CheckpointError(f"{weights.path}: {error}") from None
        module.to(device or "cpu")  # moves no data; the trunk selects the attention kernel for its device
        return module.eval()

    @classmethod
    def _read(
        cls, weights: Weights, names: Mapping[str, str], dtype: torch.dtype, device: torch.device
    ) -> Iterator[tuple[str, Tensor]]:
        """Read the tensors of the module one by one, the largest first, so that no more than one is there twice."""

        def size(parts: tuple[str, ...]) -> int:
            return sum(math.prod(weights.shapes[names[part]]) for part in parts)

        sources = module_sources(names, *cls.prefixes())
        for name, parts in sorted(sources.items(), key=lambda item: -size(item[1])):
            # Copied, because it may be a view of the file, which can change or be truncated later.
            shapes = [weights.shapes[names[part]] for part in parts]
            tensor = torch.empty((sum(s[0] for s in shapes), *shapes[0][1:]), dtype=dtype, device=device)
            for part, rows in zip(parts, tensor.split([s[0] for s in shapes]), strict=True):
                rows.copy_(weights.read(names[part]))
            yield name, tensor

    @classmethod
    def _derive(
        cls,
        state: dict[str, Tensor],
        config: XLMConfig,
        names: Mapping[str, str],
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        """Add the tensors that a file may omit to those of the module."""
        expected = expected_shapes(config, cls.kind, cls.parts)
        for name, source in derivable_tensors(config, cls.kind).items():
            if name in expected and name not in names:
                (own, *_), (tied, *_) = (module_sources([n], *cls.prefixes()) for n in (name, str(source)))
                state[own] = state[tied] if isinstance(source, str) else source().to(device=device, dtype=dtype)

    def save_pretrained(self, path: str | Path) -> None:
        """Write `config.json` and `model.safetensors`, which the reference's class reads as well.

        Tied tensors are written once. Both files are written to temporary files and then renamed, the configuration
        last.
        """
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        tensors = module_to_file(state, *self.prefixes())
        for name, source in tied_tensors(self.config, self.kind).items():
            if TRUNK_PREFIX + source in tensors:
                del tensors[name]
        write_checkpoint(path, self.config, tensors, [self.reference_class])

    @classmethod
    def prefixes(cls) -> tuple[str, str]:
        """Return the prefixes of the trunk's and the head's names in this module."""
        return ("trunk.", "head.") if len(cls.parts) == 2 else ("", "")
