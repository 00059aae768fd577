"""What heads have in common, and a trunk and a head under one roof.

A head is a module of its own with `forward_packed(hidden_TD, cu_seqlens)`, so that several can share one pass of the
trunk. The XLMFor… classes are a trunk and a head, and add the reference's padded interface.

Letters: B sequences, T packed tokens, D model width, C scores of each.
"""

from abc import abstractmethod
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from xlm_core.checkpoint import PretrainedModule
from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.names import Part
from xlm_core.model.packing import PackedBatch
from xlm_core.model.trunk import XLMModel


class Head(PretrainedModule):
    """A head by itself; it reads a directory that may hold a trunk and other heads as well."""

    parts: ClassVar[tuple[Part, ...]] = ("head",)


class ScoringHead(Head):
    """A head whose whole result is one tensor."""

    @abstractmethod
    def forward_packed(self, hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Score each sequence, or each token: the first dimension is B or T."""


class TokenHead(ScoringHead):
    """A head that looks at each token by itself; a subclass defines `forward` for any leading shape."""

    def forward_packed(self, hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Give logits_TC; `cu_seqlens` is there so that all heads are called alike."""
        del cu_seqlens
        return self(hidden_TD)


AnyHead = TypeVar("AnyHead", bound=Head)
AnyScoringHead = TypeVar("AnyScoringHead", bound=ScoringHead)


class TrunkWithHead(PretrainedModule, Generic[AnyHead]):
    """A trunk and a head under one roof."""

    parts: ClassVar[tuple[Part, ...]] = ("trunk", "head")

    def __init__(self, config: XLMConfig, head: AnyHead) -> None:
        super().__init__(config)
        self.trunk = XLMModel(config)
        self.head = head


class TrunkWithScores(TrunkWithHead[AnyScoringHead]):
    """A trunk and a head whose whole result is one tensor."""

    def forward_packed(self, batch: PackedBatch, *, invariant: bool = False) -> Tensor:
        """Give the head's scores; for `invariant`, see `XLMModel.forward_packed`, here head included."""
        if invariant:
            return torch.cat([self.forward_packed(one) for one in batch.split()])
        return self.head.forward_packed(self.trunk.forward_packed(batch), batch.cu_seqlens)
