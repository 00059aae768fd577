"""Head for multiple choice: one score per sequence; the caller applies the softmax over the choices of a question.

Each choice is a sequence, and the choices of a question are adjacent. Letters: B sequences, T packed tokens, D model
width.
"""

from typing import ClassVar

from torch import Tensor, nn

from xlm_core.checkpoint import ModelKind, XLMConfig
from xlm_core.errors import FatalError, format_count
from xlm_core.heads.head import ScoringHead
from xlm_core.heads.pooling import SequenceSummary
from xlm_core.model import init_weights


class MultipleChoiceHead(ScoringHead):
    """A sequence summary and a projection to one score.

    As in the reference and its trained checkpoints, the input width of the projection is the number of labels.
    """

    kind: ClassVar[ModelKind] = "multiple-choice"
    reference_class: ClassVar[str] = "XLMForMultipleChoice"

    def __init__(self, config: XLMConfig) -> None:
        super().__init__(config)
        self.sequence_summary = SequenceSummary(config)
        if self.sequence_summary.width != config.num_labels or not config.num_labels:
            raise FatalError(
                f"configuration field id2label: got {format_count(config.num_labels, 'label')}, expected the width of "
                f"the summary ({self.sequence_summary.width}), at least 1; set summary_use_proj and "
                "summary_proj_to_labels"
            )
        self.logits_proj = nn.Linear(config.num_labels, 1)
        init_weights(self, config)

    def forward_packed(self, hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Compute the score of each sequence, [B]."""
        summaries = self.sequence_summary.forward_packed(hidden_TD, cu_seqlens)
        return self.logits_proj(summaries.to(self.logits_proj.weight.dtype)).squeeze(-1)
