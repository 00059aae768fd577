"""Models for sequence classification and token classification, with the reference's padded interface.

Letters: B sequences, L padded length, C labels.
"""

from typing import Any, ClassVar, Unpack

from torch import Tensor

from xlm_core.checkpoint import ModelKind, XLMConfig
from xlm_core.errors import FatalError
from xlm_core.heads import SequenceClassificationHead, TokenClassificationHead
from xlm_core.reference.outputs import ScoresOutput
from xlm_core.reference.trunk_with_head import TrunkWithScoringHead
from xlm_core.reference.xlm_model import PaddedInputs


class XLMForSequenceClassification(TrunkWithScoringHead[SequenceClassificationHead]):
    """The trunk with a sequence classification head."""

    kind: ClassVar[ModelKind] = "sequence-classification"
    reference_class: ClassVar[str] = "XLMForSequenceClassification"

    def __init__(self, config: XLMConfig) -> None:
        """Build a model with random weights.

        Raises:
            FatalError: the head does not read the last layer.
        """
        if config.summary_layer not in (-1, config.n_layers):
            raise FatalError(
                f"configuration field summary_layer: got {config.summary_layer}, expected -1 (the last layer) for this "
                "class, which computes what the reference does; use XLM, or a job"
            )
        super().__init__(config, SequenceClassificationHead(config))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        **inputs: Unpack[PaddedInputs],
    ) -> ScoresOutput | tuple[Any, ...]:
        """Run the model on padded tensors, with the reference's arguments.

        `last`, `mean` and `cls_index` summaries ignore pads; the reference's include them.

        Args:
            input_ids, attention_mask: [B, L].
            labels: [B] class ids or values, or [B, C] for multi-label classification.
            inputs: see `PaddedInputs`.
        """
        run = self.trunk.run_padded(input_ids, attention_mask, **inputs)
        logits_BC = self.head.forward_packed(run.hidden, run.batch.cu_seqlens)
        loss = None if labels is None else self.head.loss(logits_BC, labels)
        return ScoresOutput(loss, logits_BC, run.hidden_states, run.attentions).to_return_value(run.return_dict)


class XLMForTokenClassification(TrunkWithScoringHead[TokenClassificationHead]):
    """The trunk with a token classification head."""

    kind: ClassVar[ModelKind] = "token-classification"
    reference_class: ClassVar[str] = "XLMForTokenClassification"

    def __init__(self, config: XLMConfig) -> None:
        super().__init__(config, TokenClassificationHead(config))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        **inputs: Unpack[PaddedInputs],
    ) -> ScoresOutput | tuple[Any, ...]:
        """Run the model on padded tensors, with the reference's arguments.

        Args:
            input_ids, attention_mask: [B, L].
            labels: [B, L] class ids; -100 where a token has none, pads included.
            inputs: see `PaddedInputs`.
        """
        run = self.trunk.run_padded(input_ids, attention_mask, **inputs)
        logits_BLC = self.head(run.layout.unpack(run.hidden))  # at pads, the logits of a zero vector
        loss = None if labels is None else self.head.loss(logits_BLC, labels)
        return ScoresOutput(loss, logits_BLC, run.hidden_states, run.attentions).to_return_value(run.return_dict)
