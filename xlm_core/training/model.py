"""The trunk and the heads that are trained together, and the checkpoint that they become."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from xlm_core.checkpoint import module_to_file, write_checkpoint
from xlm_core.heads import LanguageModelHead

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from xlm_core.heads import Head
    from xlm_core.model import Trunk

LM_HEAD = "language-modeling"  # the name of the head that all language modeling objectives share


class TrainingModel(nn.Module):
    """A trunk with any number of heads.

    Args:
        trunk: is trained as well, unless it is frozen.
        heads: by name; a language model head is tied to the trunk if its configuration has tie_word_embeddings.
        freeze_trunk: whether only the heads are trained. The trunk then has no dropout.
    """

    MODEL_FOLDER: ClassVar[str] = "model"
    HEADS_FOLDER: ClassVar[str] = "heads"

    def __init__(self, trunk: Trunk, heads: Mapping[str, Head], *, freeze_trunk: bool = False):
        super().__init__()
        self.trunk, self.heads = trunk, nn.ModuleDict(heads)
        self._heads = dict(heads)
        self.freeze_trunk = freeze_trunk
        lm_head = heads.get(LM_HEAD)
        if isinstance(lm_head, LanguageModelHead) and lm_head.config.tie_word_embeddings:
            lm_head.tie(trunk.embeddings)
        if freeze_trunk:
            trunk.requires_grad_(False)

    def train(self, mode: bool = True) -> TrainingModel:
        """Set training or evaluation mode; a frozen trunk stays in evaluation mode."""
        super().train(mode)
        if self.freeze_trunk:
            self.trunk.eval()
        return self

    def save(self, folder: Path, dtype: torch.dtype = torch.float32) -> list[Path]:
        """Write checkpoints: `model` has the trunk and the language model head, `heads/NAME` each other head.

        A single head that was trained together with the trunk, and reads its last layer, is written to `model`, too,
        where the reference's class for that head finds both. A frozen trunk is not written.

        Args:
            folder: where they are written.
            dtype: of the weights in the files.

        Returns:
            The directories that were written.
        """
        written: list[Path] = []
        heads = dict(self._heads)
        together = None if self.freeze_trunk else heads.pop(LM_HEAD, None)
        if not self.freeze_trunk:
            if together is None and len(heads) == 1 and (head := next(iter(heads.values()))).layer == -1:
                together = head
            written.append(folder / self.MODEL_FOLDER)
            _write(written[-1], self.trunk, together, dtype)
        for name, head in heads.items():
            written.append(folder / self.HEADS_FOLDER / name)
            _write(written[-1], None, head, dtype)
        return written


def _write(folder: Path, trunk: Trunk | None, head: Head | None, dtype: torch.dtype) -> None:
    """Write a trunk, a head, or both."""
    state: dict[str, Tensor] = {}
    prefixes = ("trunk.", "head.") if trunk is not None and head is not None else ("", "")
    for prefix, module in zip(prefixes, (trunk, head), strict=True):
        if module is not None:
            state |= {f"{prefix}{name}": tensor for name, tensor in module.state_dict().items()}
    if trunk is not None and isinstance(head, LanguageModelHead) and head.config.tie_word_embeddings:
        state.pop("head.pred_layer.proj.weight", None)
    tensors = {name: tensor.detach().to("cpu", dtype, copy=True).contiguous() for name, tensor in state.items()}
    owner = head if head is not None else trunk
    assert owner is not None
    write_checkpoint(folder, owner.config, module_to_file(tensors, *prefixes), [owner.reference_class])
