"""Multiple choice: one score for each sequence, softmaxed over the choices of a question by the caller.

Letters: B questions, L padded length; packed, each choice is a sequence of its own, a question's side by side.
"""

from typing import ClassVar

from torch import Tensor, nn

from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.names import Kind
from xlm_core.errors import FatalError
from xlm_core.heads.head import ScoringHead
from xlm_core.heads.pooling import SequenceSummary
from xlm_core.model.trunk import init_weights


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
