"""Multiple choice: one score for each sequence, softmaxed over the choices of a question by the caller.

Letters: B questions, L padded length; packed, each choice is a sequence of its own, a question's side by side.
"""

from typing import Any, ClassVar, Unpack, cast

import torch.nn.functional as F
from torch import Tensor, nn

from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.names import Kind
from xlm_core.errors import FatalError
from xlm_core.heads.pooling import SequenceSummary
from xlm_core.heads.trunk_with_head import ScoringHead, TrunkWithScores
from xlm_core.model.trunk import PaddedInputs, init_weights
from xlm_core.reference.outputs import ScoresOutput


class MultipleChoiceHead(ScoringHead):
    """A summary and a projection to one score.

    The projection is as wide as the labels are many, the reference's way; trained checkpoints have it so.
    """

    kind: ClassVar[Kind] = "multiple-choice"
    reference_class: ClassVar[str] = "XLMForMultipleChoice"

    def __init__(self, config: XLMConfig) -> None:
        super().__init__(config)
        self.sequence_summary = SequenceSummary(config)
        if self.sequence_summary.width != config.num_labels or not config.num_labels:
            raise FatalError(
                f"configuration field id2label: got {config.num_labels} labels, expected as many as the summary is wide"
                f" ({self.sequence_summary.width}), and at least one; set summary_use_proj and summary_proj_to_labels"
            )
        self.logits_proj = nn.Linear(config.num_labels, 1)
        init_weights(self, config)

    def forward_packed(self, hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Give each sequence's score, [number of sequences]."""
        summaries = self.sequence_summary.forward_packed(hidden_TD, cu_seqlens)
        return self.logits_proj(summaries.to(self.logits_proj.weight.dtype)).squeeze(-1)


class XLMForMultipleChoice(TrunkWithScores[MultipleChoiceHead]):
    """The trunk with a multiple choice head."""

    kind: ClassVar[Kind] = "multiple-choice"
    reference_class: ClassVar[str] = "XLMForMultipleChoice"

    def __init__(self, config: XLMConfig) -> None:
        super().__init__(config, MultipleChoiceHead(config))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        **inputs: Unpack[PaddedInputs],
    ) -> ScoresOutput | tuple[Any, ...]:
        """Run padded tensors, with the reference's arguments.

        `last`, `mean` and `cls_index` summaries see real tokens only; the reference's see the pads too. `lengths`
        are used, not ignored as there.

        Args:
            input_ids, attention_mask: [B, choices, L].
            labels: [B], the number of the right choice.
            inputs: see `PaddedInputs`; all with the choices as second dimension, `lengths` [B, choices].

        Returns:
            logits [B, choices]; hidden states and attentions of [B * choices] sequences.
        """
        shaped_by = input_ids if input_ids is not None else inputs.get("inputs_embeds")
        if shaped_by is None or shaped_by.dim() < 3:
            got = None if shaped_by is None else list(shaped_by.shape)
            raise ValueError(f"input_ids or inputs_embeds: expected [batch, choices, length, …], got {got}")
        shape = shaped_by.shape[:2]

        def flat(name: str, value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            if value.shape[:2] != shape:
                raise ValueError(f"{name}: expected shape {[*shape]} and more, got {list(value.shape)}")
            return value.flatten(0, 1)

        encoded = self.trunk.encode_padded(
            flat("input_ids", input_ids),
            flat("attention_mask", attention_mask),
            **cast("PaddedInputs", {name: flat(name, value) for name, value in inputs.items()}),
        )
        logits = self.head.forward_packed(encoded.hidden, encoded.batch.cu_seqlens).unflatten(0, shape)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return ScoresOutput(loss, logits, encoded.hidden_states, encoded.attentions).reply(encoded.return_dict)
