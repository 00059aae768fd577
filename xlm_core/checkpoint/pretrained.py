"""Modules that live in checkpoint directories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor, nn

from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.formats import open_weights
from xlm_core.checkpoint.matching import match
from xlm_core.checkpoint.meta_init import shapes_only
from xlm_core.checkpoint.names import (
    TRUNK_PREFIX,
    Kind,
    Part,
    expected_shapes,
    implied_tensors,
    to_file,
    to_module,
    twins,
)
from xlm_core.checkpoint.writing import write_checkpoint
from xlm_core.errors import CheckpointError
from xlm_core.precision import model_dtype

if TYPE_CHECKING:
    from xlm_core.checkpoint.formats import Weights


class PretrainedModule(nn.Module):
    """A module with a configuration, which lives in checkpoint directories.

    A subclass says what it is: a trunk (`parts` is trunk), a head alone (head; it reads only the head's tensors,
    from a directory that may hold the trunk as well), or both, under the names `trunk` and `head`.
    """

    kind: ClassVar[Kind]
    parts: ClassVar[tuple[Part, ...]]
    reference_class: ClassVar[str]  # what config.json calls it

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
    ) -> Self:
        """Load from a checkpoint directory, in evaluation mode.

        Nothing is ever left at random: every tensor must be there, and none may be left over.

        Args:
            path: a local directory with a configuration and weights in any format of `checkpoint.formats`.
            dtype: the precision or its name, such as "bfloat16"; float32 if not given, whatever the file's.
            device: the CPU if not given.
            causal: whether tokens see only those before them; as the configuration says if not given. The released
                causal checkpoints say false, and need to be told.

        Raises:
            CheckpointError: one line that names the file and what is wrong with it.
            ValueError: a `dtype` that no model runs in, or a `causal` that is neither true nor false.
        """
        precision = model_dtype(dtype)
        if causal not in (None, True, False):
            raise ValueError(f"causal: got {causal!r}, expected True, False or None")
        directory = Path(path)
        config = XLMConfig.from_pretrained(directory)
        if causal is not None:
            config = config.with_objective("causal" if causal else "masked")
        weights = open_weights(directory)
        tensors = cls._read(weights, config, precision, device or "cpu")
        with shapes_only():
            module = cls(config)
        try:
            module.load_state_dict(to_module(tensors, *module.prefixes()), strict=True, assign=True)
        except CheckpointError as error:  # of a model that ties what it loads
            raise CheckpointError(f"{weights.path}: {error}") from None
        module.to(device or "cpu")  # moves nothing, and has the trunk choose its attention for where it now is
        return module.eval()

    @classmethod
    def _read(
        cls, weights: Weights, config: XLMConfig, dtype: torch.dtype, device: torch.device | str
    ) -> dict[str, Tensor]:
        """Read what the module needs by canonical name, and make what the file may leave out."""
        tensors: dict[str, Tensor] = {}
        for name, file_name in match(weights, config, cls.kind, cls.parts).items():
            # copied: what is read may be a view of the file, and would change or crash with it
            tensors[name] = weights.read(file_name).to(
                device=device, dtype=dtype, copy=True, memory_format=torch.contiguous_format
            )
        expected = expected_shapes(config, cls.kind, cls.parts)
        for name, source in implied_tensors(config, cls.kind).items():
            if name in expected and name not in tensors:
                tensors[name] = tensors[source] if isinstance(source, str) else source().to(device=device, dtype=dtype)
        return tensors

    def save_pretrained(self, path: str | Path) -> None:
        """Write `config.json` and `model.safetensors`, which the reference's class reads as well.

        What the configuration ties is written once. Both files are written beside their places and then renamed into
        them, the configuration last.
        """
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        tensors = to_file(state, *self.prefixes())
        for name, twin in twins(self.config, self.kind).items():
            if TRUNK_PREFIX + twin in tensors:
                del tensors[name]
        write_checkpoint(path, self.config, tensors, [self.reference_class])

    @classmethod
    def prefixes(cls) -> tuple[str, str]:
        """Give what stands before the trunk's and the head's names in this module."""
        return ("trunk.", "head.") if len(cls.parts) == 2 else ("", "")
