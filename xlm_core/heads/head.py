"""Base classes of the heads.

A head is a separate module with `forward_packed(hidden_TD, cu_seqlens)`, so that several heads can share one forward
pass of the trunk.

Letters: B sequences, T packed tokens, D model width, C scores per sequence or token.
"""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from xlm_core.checkpoint import ModelPart, PretrainedModule


class Head(PretrainedModule):
    """A head without its trunk; it loads from a directory that may also hold a trunk and other heads."""

    parts: ClassVar[tuple[ModelPart, ...]] = ("head",)

    @property
    def layer(self) -> int:
        """The layer of the trunk whose output the head reads; -1 for the last."""
        return -1


class ScoringHead(Head):
    """A head that returns a single tensor."""

    @abstractmethod
    def forward_packed(self, hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Score each sequence or each token: the first dimension is B or T."""


class TokenHead(ScoringHead):
    """A head that scores each token independently; a subclass defines `forward` for any leading shape."""

    def forward_packed(self, hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Compute logits_TC; `cu_seqlens` is ignored and only there to give all heads the same signature."""
        del cu_seqlens
        return self(hidden_TD)
