"""What the padded interface returns: the reference's outputs, with its field names and in its order.

Letters: B sequences, L padded length, D model width, N heads, C labels, V words, S starts and E ends of the beams.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from torch import Tensor

from xlm_core.model.trunk import HiddenStates

Attentions = tuple[Tensor, ...]
"""Each layer's attention probabilities, [B, N, L, L]; zero where the row's or the column's token is a pad."""


@dataclass(frozen=True, eq=False)
class ModelOutput(Mapping[str, Any]):
    """Fields by attribute, by name or by place: `out.logits`, `out["logits"]`, `out[0]`.

    As in the reference, a field that is None counts for neither: it has no place, and its name is not a key.
    """

    def to_tuple(self) -> tuple[Any, ...]:
        """Give the fields that are not None, in order."""
        return tuple(self.values())

    def reply(self, return_dict: bool) -> Self | tuple[Any, ...]:
        """Give this, or the plain tuple where that is wanted."""
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
    """Of `XLMModel`; zero at pads."""

    last_hidden_state: Tensor  # [B, L, D]
    hidden_states: HiddenStates | None = None  # each [B, L, D]
    attentions: Attentions | None = None


@dataclass(frozen=True, eq=False)
class ScoresOutput(ModelOutput):
    """Of the heads that score labels, choices or words."""

    loss: Tensor | None  # where labels were given
    logits: Tensor  # [B, C]; tokens [B, L, C], choices [B, choices], words [B, L, V]
    hidden_states: HiddenStates | None = None
    attentions: Attentions | None = None


@dataclass(frozen=True, eq=False)
class SpansOutput(ModelOutput):
    """Of the simple question answering head."""

    loss: Tensor | None  # where both positions were given
    start_logits: Tensor  # [B, L]
    end_logits: Tensor  # [B, L]
    hidden_states: HiddenStates | None = None
    attentions: Attentions | None = None


@dataclass(frozen=True, eq=False)
class BeamsOutput(ModelOutput):
    """Of the beam question answering head: a loss where both positions were given, beams where they were not.

    The log_probs are probabilities: the reference's name, and its content. Candidates that a sequence does not have
    are probability 0 and index -1.
    """

    loss: Tensor | None = None
    start_top_log_probs: Tensor | None = None  # [B, S]
    start_top_index: Tensor | None = None  # [B, S], columns of the padded tensor
    end_top_log_probs: Tensor | None = None  # [B, E * S], end e of start s at e * S + s
    end_top_index: Tensor | None = None  # [B, E * S]
    cls_logits: Tensor | None = None  # [B]
    hidden_states: HiddenStates | None = None
    attentions: Attentions | None = None
