"""Base classes of the models that combine a trunk and a head, such as `XLMForSequenceClassification`."""

from typing import ClassVar, Generic, TypeVar

from torch import Tensor

from xlm_core.checkpoint import ModelPart, PretrainedModule, XLMConfig
from xlm_core.heads import Head, ScoringHead
from xlm_core.model import PackedBatch
from xlm_core.reference.xlm_model import XLMModel

HeadT = TypeVar("HeadT", bound=Head)
ScoringHeadT = TypeVar("ScoringHeadT", bound=ScoringHead)


class TrunkWithHead(PretrainedModule, Generic[HeadT]):
    """A trunk and a head in one module."""

    parts: ClassVar[tuple[ModelPart, ...]] = ("trunk", "head")

    def __init__(self, config: XLMConfig, head: HeadT) -> None:
        super().__init__(config)
        self.trunk = XLMModel(config)
        self.head = head


class TrunkWithScoringHead(TrunkWithHead[ScoringHeadT]):
    """A trunk and a head that returns a single tensor."""

    def forward_packed(self, batch: PackedBatch) -> Tensor:
        """Run the trunk and the head on a packed batch; see the head for the shape of the scores."""
        return self.head.forward_packed(self.trunk.forward_packed(batch), batch.cu_seqlens)
