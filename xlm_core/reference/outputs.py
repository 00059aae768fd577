"""The outputs of the padded interface, with the reference's field names in the reference's order.

Letters: B sequences, L padded length, D model width, N heads, C labels, V words, S starts and E ends of the beams.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from torch import Tensor

from xlm_core.model import HiddenStates

Attentions = tuple[Tensor, ...]
"""The attention probabilities of each layer, [B, N, L, L]; 0 where the row or the column is a pad."""


@dataclass(frozen=True, eq=False)
class ModelOutput(Mapping[str, Any]):
    """Fields that can be read by attribute, name or index: `out.logits`, `out["logits"]`, `out[0]`.

    As in the reference, fields that are None have neither an index nor a key.
    """

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the fields that are not None, in order."""
        return tuple(self.values())

    def to_return_value(self, return_dict: bool) -> Self | tuple[Any, ...]:
        """Return this object, or a plain tuple if `return_dict` is false."""
        return self if return_dict else self.to_tuple()

    def __getitem__(self, key: str | int | slice) -> Any:
        if not isinstance(key, str):
            return self.to_tuple()[key]
        if key not in tuple(self):
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return (field.name for field in fields(self) if getattr(self, field.name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True, eq=False)
class TrunkOutput(ModelOutput):
    """Output of `XLMModel`; 0 at pads."""

    last_hidden_state: Tensor  # [B, L, D]
    hidden_states: HiddenStates | None = None  # each [B, L, D]
    attentions: Attentions | None = None


@dataclass(frozen=True, eq=False)
class ScoresOutput(ModelOutput):
    """Output of the models that score labels, choices or words."""

    loss: Tensor | None  # if labels were given
    logits: Tensor  # [B, C]; tokens [B, L, C], choices [B, choices], words [B, L, V]
    hidden_states: HiddenStates | None = None
    attentions: Attentions | None = None


@dataclass(frozen=True, eq=False)
class SpansOutput(ModelOutput):
    """Output of the model with the simple head for question answering."""

    loss: Tensor | None  # if both positions were given
    start_logits: Tensor  # [B, L]
    end_logits: Tensor  # [B, L]
    hidden_states: HiddenStates | None = None
    attentions: Attentions | None = None


@dataclass(frozen=True, eq=False)
class BeamsOutput(ModelOutput):
    """Output of the model with the beam head for question answering: a loss if both positions were given, else beams.

    As in the reference, the fields named log_probs contain probabilities. Missing candidates have probability 0 and
    index -1.
    """

    loss: Tensor | None = None
    start_top_log_probs: Tensor | None = None  # [B, S]
    start_top_index: Tensor | None = None  # [B, S], columns of the padded tensors
    end_top_log_probs: Tensor | None = None  # [B, E * S], end e of start s is at e * S + s
    end_top_index: Tensor | None = None  # [B, E * S]
    cls_logits: Tensor | None = None  # [B]
    hidden_states: HiddenStates | None = None
    attentions: Attentions | None = None
